-- People, their sessions, their programs' keys. The least personal data that works: a name and a way to reach the person.
CREATE SCHEMA accounts;

CREATE TABLE accounts.accounts (
    id            uuid PRIMARY KEY,
    name          text        NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    -- Written by the service in NFKC and lower case; the index below holds even against other writers.
    email         text        CHECK (length(email) BETWEEN 6 AND 254 AND strpos(email, '@') > 1),
    phone         text        UNIQUE CHECK (phone ~ '^\+[1-9][0-9]{7,14}$'),
    password_hash text        NOT NULL CHECK (password_hash LIKE '$argon2id$%' AND length(password_hash) <= 255),
    timezone      text        NOT NULL CHECK (timezone IN ('Asia/Jakarta', 'Asia/Makassar', 'Asia/Jayapura')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(email, phone) >= 1)
);
CREATE UNIQUE INDEX accounts_email ON accounts.accounts (lower(email));

-- Only the SHA-256 of a token is stored: who reads this table cannot sign in with it.
CREATE TABLE accounts.sessions (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    account_id uuid        NOT NULL REFERENCES accounts.accounts (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_of_account ON accounts.sessions (account_id, created_at);
CREATE INDEX sessions_expiry ON accounts.sessions (expires_at);

CREATE TABLE accounts.api_keys (
    id           uuid PRIMARY KEY,
    token_hash   bytea       NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    account_id   uuid        NOT NULL REFERENCES accounts.accounts (id) ON DELETE CASCADE,
    label        text        NOT NULL CHECK (length(label) BETWEEN 1 AND 80),
    -- The token's first characters, by which a person tells keys apart: 24 of its 256 bits.
    prefix       text        NOT NULL CHECK (prefix ~ '^emk_.{4}$'),
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_on date,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_of_account ON accounts.api_keys (account_id, created_at, id);

-- Tries at passwords, counted per sign-in name and address in windows. The key is a digest: it names nobody.
-- Unlogged, because losing it in a crash costs only a few more tries, and a flood of guesses then writes no WAL.
CREATE UNLOGGED TABLE accounts.guesses (
    key     bytea PRIMARY KEY CHECK (length(key) = 32),
    tries   integer     NOT NULL CHECK (tries > 0),
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX guesses_expiry ON accounts.guesses (ends_at);
