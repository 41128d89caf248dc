-- Quota passes from one account to another (partners' stock, vouchers, grants): `give` and `receive`, in one transaction.
ALTER TABLE ledger.transfers
    DROP CONSTRAINT transfers_kind_check,
    ADD CONSTRAINT transfers_kind_check
        CHECK (kind IN ('credit', 'hold', 'settle', 'release', 'refund', 'give', 'receive', 'money')),
    ADD CONSTRAINT transfers_passed_on_check CHECK (kind NOT IN ('give', 'receive') OR subject IS NOT NULL);

-- Every transfer stands in exactly one of the three again, so history reads two of them as before.
DROP INDEX ledger.transfers_spent;
DROP INDEX ledger.transfers_credited;
CREATE INDEX transfers_spent ON ledger.transfers (debit, posted_at, id)
    WHERE kind IN ('hold', 'settle', 'release', 'refund', 'give');
CREATE INDEX transfers_credited ON ledger.transfers (credit, posted_at, id) WHERE kind IN ('credit', 'receive');
-- What is given is found with what is received, by what it was about.
CREATE INDEX transfers_passed_on ON ledger.transfers (subject) WHERE kind IN ('give', 'receive');
