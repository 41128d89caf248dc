-- The invariants are watched every minute: what is new since the last look, against sums that were verified before it.
-- docs/invariants.md explains the horizon and the public lines.

-- What was written lately is found without reading what was written long ago.
CREATE INDEX transfers_recent ON ledger.transfers USING brin (posted_at)
    WITH (pages_per_range = 32, autosummarize = on);

-- Whether a row was written by transaction `horizon` or a later one. Transaction ids go round after 2^32, so ask this
-- only of rows that are younger than 2^31 transactions; ids below 3 belong to rows older than any horizon.
CREATE FUNCTION ledger.written_since(written_by xid, horizon bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT written_by::text::bigint >= 3 AND ((written_by::text::bigint - horizon) & 4294967295) < 2147483648
$$;

-- How far the steward has verified: the sums over all transfers of transactions below `horizon`.
CREATE TABLE ledger.watch (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    horizon      bigint      NOT NULL,
    posted_from  timestamptz NOT NULL,
    bought       bigint      NOT NULL,
    held         bigint      NOT NULL,
    used         bigint      NOT NULL,
    refunded     bigint      NOT NULL,
    looked_at    timestamptz NOT NULL DEFAULT '-infinity',
    audited_at   timestamptz NOT NULL,
    audit_wanted boolean     NOT NULL DEFAULT false,
    broken       text[]      NOT NULL DEFAULT '{}'
);

-- The same sums for each account: a second book, kept from the transfers alone.
CREATE TABLE ledger.watched (
    account  uuid PRIMARY KEY,
    bought   bigint NOT NULL,
    held     bigint NOT NULL,
    used     bigint NOT NULL,
    refunded bigint NOT NULL
) WITH (fillfactor = 70);

CREATE SCHEMA status;

-- The public lines, one a minute. Each carries the SHA-256 of the one before it and a signature, so none can be changed.
CREATE TABLE status.lines (
    number    bigint PRIMARY KEY CHECK (number > 0),
    line      text  NOT NULL,
    signature bytea NOT NULL CHECK (length(signature) = 64),
    key       bytea NOT NULL CHECK (length(key) = 32)
);
CREATE FUNCTION status.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a public line stays as it was published';
END $$;
CREATE TRIGGER lines_immutable BEFORE UPDATE OR DELETE ON status.lines
    FOR EACH ROW EXECUTE FUNCTION status.refuse_change();
CREATE TRIGGER lines_not_truncated BEFORE TRUNCATE ON status.lines
    FOR EACH STATEMENT EXECUTE FUNCTION status.refuse_change();
