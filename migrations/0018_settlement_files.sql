-- Orders are found by the number that people read aloud, which is the last 40 bits of the id: ten hexadecimal digits. It is
-- almost always one order's; nothing makes it so.
CREATE INDEX orders_by_number ON purchase.orders (right(id::text, 10));

-- What an account ordered lately, for the limits that are decided when an order is placed.
CREATE INDEX orders_of_account_lately ON purchase.orders (account_id, created_at);

-- What is paid in our books and should be in a provider's settlement file of that day.
CREATE INDEX orders_paid ON purchase.orders (paid_provider, paid_at) WHERE paid_at IS NOT NULL;

-- Settlement files that operators loaded, each once: the digest of its bytes is its name.
CREATE TABLE purchase.settlement_files (
    digest      bytea PRIMARY KEY CHECK (length(digest) = 32),
    provider    text        NOT NULL,
    name        text        NOT NULL CHECK (length(name) <= 200),
    size_bytes  bigint      NOT NULL CHECK (size_bytes > 0),
    begun_at    timestamptz NOT NULL DEFAULT now(),
    -- Null until every line is on record: a load that died goes on where it was.
    finished_at timestamptz
);

-- Every line of them and what became of it, written once, after what it led to: a load that died does the rest again, which
-- changes nothing a second time.
CREATE TABLE purchase.settlement_lines (
    file_digest bytea   NOT NULL REFERENCES purchase.settlement_files (digest),
    line        integer NOT NULL CHECK (line > 0),
    order_id    uuid,
    reference   text    NOT NULL CHECK (length(reference) <= 200),
    amount      numeric,
    currency    text    CHECK ((currency IS NULL) = (amount IS NULL)),
    paid_at     timestamptz,
    outcome     text    NOT NULL,
    detail      text    NOT NULL CHECK (length(detail) <= 300),
    PRIMARY KEY (file_digest, line)
);
CREATE INDEX settlement_lines_of_order ON purchase.settlement_lines (order_id) WHERE order_id IS NOT NULL;
