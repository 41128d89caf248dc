-- The ledger: immutable transfers, one balance row per quota account, open holds, and the register of serials.
CREATE SCHEMA ledger;

CREATE TABLE ledger.transfers (
    id        uuid PRIMARY KEY,
    kind      text        NOT NULL CHECK (kind IN ('credit', 'hold', 'settle', 'release', 'refund', 'money')),
    reason    text        NOT NULL,
    amount    bigint      NOT NULL CHECK (amount > 0),
    debit     uuid        NOT NULL,
    credit    uuid        NOT NULL CHECK (credit <> debit),
    hold_id   uuid        CHECK ((hold_id IS NOT NULL) = (kind IN ('settle', 'release'))),
    subject   uuid,
    posted_at timestamptz NOT NULL DEFAULT now()
);
-- A hold ends at most once, whatever the code above believes.
CREATE UNIQUE INDEX transfers_one_ending ON ledger.transfers (hold_id) WHERE hold_id IS NOT NULL;
-- Every transfer stands in exactly one of these three.
CREATE INDEX transfers_spent ON ledger.transfers (debit, posted_at, id)
    WHERE kind IN ('hold', 'settle', 'release', 'refund');
CREATE INDEX transfers_credited ON ledger.transfers (credit, posted_at, id) WHERE kind = 'credit';
CREATE INDEX transfers_money ON ledger.transfers (subject) WHERE kind = 'money';

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transfers are immutable: correct with a new transfer';
END $$;
CREATE TRIGGER transfers_immutable BEFORE UPDATE OR DELETE ON ledger.transfers
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER transfers_not_truncated BEFORE TRUNCATE ON ledger.transfers
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- available = bought - held - used - refunded, and it is never below zero: promise 1 as a constraint.
CREATE TABLE ledger.balances (
    account  uuid PRIMARY KEY,
    bought   bigint NOT NULL DEFAULT 0 CHECK (bought >= 0),
    held     bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    used     bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    refunded bigint NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    CHECK (bought >= held + used + refunded)
) WITH (fillfactor = 70);

-- Only the holds that are open: a row leaves when its hold ends. The transfers keep the history.
CREATE TABLE ledger.holds (
    id         uuid PRIMARY KEY,
    account    uuid        NOT NULL,
    amount     bigint      NOT NULL CHECK (amount > 0),
    subject    uuid,
    expires_at timestamptz NOT NULL
);
CREATE INDEX holds_expiry ON ledger.holds (expires_at);

CREATE TABLE ledger.serial_blocks (
    number     integer PRIMARY KEY,
    channel    text        NOT NULL,
    key        bytea       NOT NULL CHECK (length(key) >= 32),
    size       integer     NOT NULL CHECK (size > 0),
    next       integer     NOT NULL DEFAULT 0 CHECK (next BETWEEN 0 AND size),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX serial_blocks_with_room ON ledger.serial_blocks (channel, number) WHERE next < size;

-- A serial belongs to one document digest for life (promise 2).
CREATE TABLE ledger.serials (
    serial   text COLLATE "C" PRIMARY KEY CHECK (serial ~ '^[A-Z0-9]{22}$'),
    state    text        NOT NULL DEFAULT 'taken' CHECK (state IN ('taken', 'affixed', 'void')),
    digest   bytea       NOT NULL CHECK (length(digest) = 32),
    hold_id  uuid        NOT NULL,
    subject  uuid        NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz CHECK ((ended_at IS NULL) = (state = 'taken'))
) WITH (fillfactor = 90);

CREATE FUNCTION ledger.keep_serial() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'taken'
        OR (NEW.serial, NEW.digest, NEW.hold_id, NEW.subject) IS DISTINCT FROM
           (OLD.serial, OLD.digest, OLD.hold_id, OLD.subject) THEN
        RAISE EXCEPTION 'serial % is % and stays so', OLD.serial, OLD.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER serials_for_life BEFORE UPDATE OR DELETE ON ledger.serials
    FOR EACH ROW EXECUTE FUNCTION ledger.keep_serial();
