-- Staff: people with an account who do the issuer's own work. Every grant and revocation is a row that stays; the last
-- one of an account and a role is what holds.
CREATE TABLE accounts.staff_changes (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts.accounts (id),
    role       text        NOT NULL CHECK (role IN ('treasury', 'care', 'operator')),
    change     text        NOT NULL CHECK (change IN ('granted', 'revoked')),
    done_by    text        NOT NULL CHECK (length(done_by) BETWEEN 1 AND 200),
    done_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX staff_changes_last ON accounts.staff_changes (account_id, role, number DESC);

CREATE FUNCTION accounts.refuse_staff_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the record of staff only grows: grant or revoke anew';
END $$;
CREATE TRIGGER staff_changes_immutable BEFORE UPDATE OR DELETE ON accounts.staff_changes
    FOR EACH ROW EXECUTE FUNCTION accounts.refuse_staff_change();
CREATE TRIGGER staff_changes_not_truncated BEFORE TRUNCATE ON accounts.staff_changes
    FOR EACH STATEMENT EXECUTE FUNCTION accounts.refuse_staff_change();
