-- Partners: distributors and retailers who sell stamps from a stock of their own, which is the quota account of the partner's id.
CREATE SCHEMA partners;

-- `name`, `kind`, `contact` and `state` are public: whoever wants to buy may ask who is an official seller.
CREATE TABLE partners.partners (
    id             uuid PRIMARY KEY,
    account_id     uuid        NOT NULL UNIQUE REFERENCES accounts.accounts (id),
    kind           text        NOT NULL CHECK (kind IN ('distributor', 'retailer')),
    distributor_id uuid        REFERENCES partners.partners (id) CHECK (distributor_id IS NULL OR kind = 'retailer'),
    name           text        NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    contact        text        NOT NULL CHECK (length(contact) BETWEEN 1 AND 254),
    state          text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    warn_below     bigint      NOT NULL DEFAULT 1000 CHECK (warn_below >= 0),
    registered_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX partners_of_distributor ON partners.partners (distributor_id) WHERE distributor_id IS NOT NULL;
CREATE INDEX partners_by_name ON partners.partners (name, id);

-- Who let a partner in, stopped it and let it go on, and why: a record that only grows.
CREATE TABLE partners.changes (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner_id uuid        NOT NULL REFERENCES partners.partners (id),
    change     text        NOT NULL CHECK (change IN ('registered', 'suspended', 'reinstated')),
    reason     text        NOT NULL CHECK (length(reason) <= 500),
    done_by    text        NOT NULL CHECK (length(done_by) BETWEEN 1 AND 200),
    done_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX changes_of_partner ON partners.changes (partner_id, number);

CREATE FUNCTION partners.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was decided about partners stays as it is';
END $$;
CREATE TRIGGER changes_immutable BEFORE UPDATE OR DELETE ON partners.changes
    FOR EACH ROW EXECUTE FUNCTION partners.refuse_change();
CREATE TRIGGER changes_not_truncated BEFORE TRUNCATE ON partners.changes
    FOR EACH STATEMENT EXECUTE FUNCTION partners.refuse_change();

-- Duty that was paid into the treasury in advance (account 411611, type 102). Two people of the treasury's staff sign: one
-- puts it on record with its proof, another approves. `quantity` is what the amount pays for at the duty of that day.
CREATE TABLE partners.deposits (
    id             uuid PRIMARY KEY,
    partner_id     uuid        NOT NULL REFERENCES partners.partners (id),
    -- The treasury's receipt number (NTPN): sixteen letters and digits, one for each payment.
    ntpn           text        NOT NULL CHECK (ntpn ~ '^[0-9A-Z]{16}$'),
    amount_idr     bigint      NOT NULL,
    duty_idr       bigint      NOT NULL CHECK (duty_idr > 0),
    quantity       bigint      NOT NULL CHECK (quantity > 0),
    paid_on        date        NOT NULL,
    proof_sha256   bytea       CHECK (length(proof_sha256) = 32),
    state          text        NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'approved', 'rejected')),
    proposed_by    uuid        NOT NULL REFERENCES accounts.accounts (id),
    proposed_at    timestamptz NOT NULL DEFAULT now(),
    decided_by     uuid        REFERENCES accounts.accounts (id),
    decided_at     timestamptz,
    reason         text        CHECK (length(reason) BETWEEN 1 AND 500),
    money_transfer uuid        NOT NULL,
    stock_transfer uuid        NOT NULL,
    CHECK (amount_idr = quantity * duty_idr),
    CHECK (proposed_by <> decided_by),
    CHECK (num_nonnulls(decided_by, decided_at) = CASE state WHEN 'proposed' THEN 0 ELSE 2 END),
    CHECK ((reason IS NOT NULL) = (state = 'rejected'))
);
-- A payment becomes stock once. One that was rejected, for its amount or partner was mistyped, may be recorded anew.
CREATE UNIQUE INDEX deposits_ntpn ON partners.deposits (ntpn) WHERE state <> 'rejected';
CREATE INDEX deposits_of_partner ON partners.deposits (partner_id, id);
CREATE INDEX deposits_open ON partners.deposits (id) WHERE state = 'proposed';

-- Stock that the issuer moves from one partner to another, with two signatures.
CREATE TABLE partners.moves (
    id               uuid PRIMARY KEY,
    giver_id         uuid        NOT NULL REFERENCES partners.partners (id),
    receiver_id      uuid        NOT NULL REFERENCES partners.partners (id) CHECK (receiver_id <> giver_id),
    quantity         bigint      NOT NULL CHECK (quantity > 0),
    why              text        NOT NULL CHECK (length(why) BETWEEN 1 AND 500),
    state            text        NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'approved', 'rejected')),
    proposed_by      uuid        NOT NULL REFERENCES accounts.accounts (id),
    proposed_at      timestamptz NOT NULL DEFAULT now(),
    decided_by       uuid        REFERENCES accounts.accounts (id),
    decided_at       timestamptz,
    reason           text        CHECK (length(reason) BETWEEN 1 AND 500),
    give_transfer    uuid        NOT NULL,
    receive_transfer uuid        NOT NULL,
    CHECK (proposed_by <> decided_by),
    CHECK (num_nonnulls(decided_by, decided_at) = CASE state WHEN 'proposed' THEN 0 ELSE 2 END),
    CHECK ((reason IS NOT NULL) = (state = 'rejected'))
);
CREATE INDEX moves_open ON partners.moves (id) WHERE state = 'proposed';
CREATE INDEX moves_given ON partners.moves (giver_id, id);
CREATE INDEX moves_received ON partners.moves (receiver_id, id);

CREATE FUNCTION partners.keep_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'proposed' THEN
        RAISE EXCEPTION '% is % and stays so', OLD.id, OLD.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER deposits_decided_once BEFORE UPDATE OR DELETE ON partners.deposits
    FOR EACH ROW EXECUTE FUNCTION partners.keep_decision();
CREATE TRIGGER moves_decided_once BEFORE UPDATE OR DELETE ON partners.moves
    FOR EACH ROW EXECUTE FUNCTION partners.keep_decision();

-- A sale: units given by a stock and received by `buyer`, a person's account or, with `to_partner`, a retailer's stock.
-- Sales that were made together left the stock together: one transfer of their sum, whose subject is the `bundle`.
-- No reference to the partner, whose row each of many thousand sales a second would look at; the audit looks instead.
CREATE TABLE partners.sales (
    partner_id      uuid        NOT NULL,
    id              uuid        NOT NULL,
    bundle          uuid        NOT NULL,
    buyer           uuid        NOT NULL CHECK (buyer <> partner_id),
    to_partner      boolean     NOT NULL,
    quantity        bigint      NOT NULL CHECK (quantity > 0),
    reference       text        NOT NULL,
    idempotency_key text        NOT NULL,
    sold_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partner_id, id)
);
CREATE UNIQUE INDEX sales_key ON partners.sales (partner_id, idempotency_key);
CREATE TRIGGER sales_immutable BEFORE UPDATE OR DELETE ON partners.sales
    FOR EACH ROW EXECUTE FUNCTION partners.refuse_change();

-- How fast a stock empties: one row for each minute in which it sold.
CREATE TABLE partners.minutes (
    partner_id uuid        NOT NULL,
    minute     timestamptz NOT NULL,
    sales      bigint      NOT NULL,
    units      bigint      NOT NULL,
    PRIMARY KEY (partner_id, minute)
) WITH (fillfactor = 50);
