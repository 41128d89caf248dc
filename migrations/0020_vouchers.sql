-- Vouchers for counters. A batch is a quota account of its own, with the batch's id; its units came from the stock.
CREATE TABLE purchase.voucher_batches (
    id                  uuid PRIMARY KEY,
    stock_id            uuid        NOT NULL,
    made_by             uuid        NOT NULL,
    label               text        NOT NULL CHECK (length(label) <= 60),
    vouchers            integer     NOT NULL CHECK (vouchers > 0),
    units               integer     NOT NULL CHECK (units > 0),
    idempotency_key     text,
    request_digest      bytea       NOT NULL CHECK (length(request_digest) = 32),
    -- What the codes are drawn from, enciphered for this batch (AES-256-GCM: nonce, ciphertext, tag); forgotten in time.
    enciphered_key      bytea       CHECK (length(enciphered_key) = 60),
    codes_until         timestamptz NOT NULL,
    downloads           integer     NOT NULL DEFAULT 0 CHECK (downloads >= 0),
    first_downloaded_at timestamptz CHECK ((first_downloaded_at IS NULL) = (downloads = 0)),
    created_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (made_by, idempotency_key)
);
CREATE INDEX voucher_batches_of_stock ON purchase.voucher_batches (stock_id, id);
CREATE INDEX voucher_batches_codes ON purchase.voucher_batches (codes_until) WHERE enciphered_key IS NOT NULL;

-- Only the keyed hash of a code is here: who reads this table can redeem nothing.
CREATE TABLE purchase.vouchers (
    id             uuid PRIMARY KEY,
    batch_id       uuid        NOT NULL REFERENCES purchase.voucher_batches,
    number         integer     NOT NULL CHECK (number > 0),
    digest         bytea       NOT NULL UNIQUE CHECK (length(digest) = 32),
    state          text        NOT NULL DEFAULT 'made' CHECK (state IN ('made', 'active', 'redeemed', 'void')),
    activated_at   timestamptz CHECK (activated_at IS NULL OR state <> 'made'),
    redeemed_at    timestamptz CHECK ((redeemed_at IS NOT NULL) = (state = 'redeemed')),
    redeemed_by    uuid        CHECK ((redeemed_by IS NOT NULL) = (state = 'redeemed')),
    redemption_key text        CHECK (redemption_key IS NULL OR state = 'redeemed'),
    voided_at      timestamptz CHECK ((voided_at IS NOT NULL) = (state = 'void')),
    UNIQUE (batch_id, number),
    CHECK (activated_at IS NOT NULL OR state IN ('made', 'void'))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX vouchers_redemption ON purchase.vouchers (redeemed_by, redemption_key)
    WHERE redemption_key IS NOT NULL;

-- Redeemed and void are for ever, whatever the code above believes.
CREATE FUNCTION purchase.keep_voucher() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state IN ('redeemed', 'void')
        OR (NEW.id, NEW.batch_id, NEW.number, NEW.digest) IS DISTINCT FROM
           (OLD.id, OLD.batch_id, OLD.number, OLD.digest) THEN
        RAISE EXCEPTION 'voucher % is % and stays so', OLD.id, OLD.state USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER vouchers_end_once BEFORE UPDATE OR DELETE ON purchase.vouchers
    FOR EACH ROW EXECUTE FUNCTION purchase.keep_voucher();

-- Each time that vouchers were voided: how many, and what went back to the stock.
CREATE TABLE purchase.voucher_voidings (
    id              uuid PRIMARY KEY,
    batch_id        uuid        NOT NULL REFERENCES purchase.voucher_batches,
    voided_by       uuid        NOT NULL,
    first           integer     NOT NULL CHECK (first > 0),
    last            integer     NOT NULL CHECK (last >= first),
    vouchers        integer     NOT NULL CHECK (vouchers BETWEEN 0 AND last - first + 1),
    units           bigint      NOT NULL CHECK (units >= vouchers),
    idempotency_key text,
    voided_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (voided_by, idempotency_key)
);
CREATE INDEX voucher_voidings_of_batch ON purchase.voucher_voidings (batch_id, id);

-- Wrong codes, counted per account and per address in windows; a key is a digest and names nobody. Unlogged, because
-- losing it in a crash costs only a few more tries, and a flood of guesses then writes no WAL.
CREATE UNLOGGED TABLE purchase.voucher_tries (
    key     bytea PRIMARY KEY CHECK (length(key) = 32),
    tries   integer     NOT NULL CHECK (tries > 0),
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX voucher_tries_end ON purchase.voucher_tries (ends_at);
