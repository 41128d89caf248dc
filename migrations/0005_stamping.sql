-- The spine: documents that people send and the stamps on them.
CREATE SCHEMA stamping;

CREATE TABLE stamping.documents (
    id             uuid PRIMARY KEY,
    account_id     uuid        NOT NULL,
    name           text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    size_bytes     bigint      NOT NULL CHECK (size_bytes >= 0),
    received_bytes bigint      NOT NULL DEFAULT 0 CHECK (received_bytes BETWEEN 0 AND size_bytes),
    state          text        NOT NULL CHECK (state IN ('receiving', 'received', 'ready', 'refused', 'abandoned')),
    digest         bytea CHECK (length(digest) = 32),
    report         jsonb,
    refusal_code   text,
    refusal_facts  jsonb,
    created_at     timestamptz NOT NULL DEFAULT now(),
    changed_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz,
    CHECK ((expires_at IS NOT NULL) = (state = 'receiving')),
    CHECK ((report IS NOT NULL) = (state = 'ready')),
    CHECK ((refusal_code IS NOT NULL) = (state = 'refused'))
);
CREATE INDEX documents_of_account ON stamping.documents (account_id, created_at DESC, id DESC);
CREATE INDEX documents_unfinished ON stamping.documents (expires_at) WHERE state = 'receiving';

-- The stored pieces of an upload under way; they leave when the original is whole.
CREATE TABLE stamping.parts (
    document_id uuid   NOT NULL REFERENCES stamping.documents,
    start       bigint NOT NULL CHECK (start >= 0),
    size_bytes  bigint NOT NULL CHECK (size_bytes > 0),
    key         text   NOT NULL,
    PRIMARY KEY (document_id, start)
);

CREATE TABLE stamping.stamps (
    id                uuid PRIMARY KEY,
    account_id        uuid        NOT NULL,
    document_id       uuid        NOT NULL REFERENCES stamping.documents,
    digest            bytea       NOT NULL CHECK (length(digest) = 32),
    copy              integer     NOT NULL CHECK (copy > 0),
    state             text        NOT NULL CHECK (state IN ('held', 'sealed', 'given_back')),
    serial            text COLLATE "C" NOT NULL,
    hold_id           uuid        NOT NULL,
    ending_id         uuid        NOT NULL,
    page              integer     NOT NULL CHECK (page > 0),
    box               float8[]    NOT NULL CHECK (cardinality(box) = 4),
    idempotency_key   text,
    request_digest    bytea       NOT NULL,
    reason            text,
    refusal_code      text,
    refusal_facts     jsonb,
    tail_key          text,
    tail_bytes        bigint,
    sealed_size_bytes bigint,
    sealed_digest     bytea,
    level             text,
    held_at           timestamptz NOT NULL DEFAULT now(),
    sealed_at         timestamptz,
    ended_at          timestamptz,
    CHECK ((ended_at IS NOT NULL) = (state <> 'held')),
    CHECK ((tail_key IS NOT NULL AND sealed_digest IS NOT NULL AND sealed_size_bytes IS NOT NULL
            AND tail_bytes IS NOT NULL AND level IS NOT NULL AND sealed_at IS NOT NULL) = (state = 'sealed')),
    CHECK ((reason IS NOT NULL) = (state = 'given_back'))
) WITH (fillfactor = 80);
-- The same person and the same file: one stamp, unless a further copy was asked for or the unit was given back.
CREATE UNIQUE INDEX stamps_once ON stamping.stamps (account_id, digest, copy) WHERE state <> 'given_back';
CREATE UNIQUE INDEX stamps_key ON stamping.stamps (account_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX stamps_of_account ON stamping.stamps (account_id, held_at DESC, id DESC);
CREATE INDEX stamps_of_document ON stamping.stamps (document_id);
