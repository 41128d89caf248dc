-- Agencies: programmes of grants. A programme is a quota account of its own, with the programme's id; the lock on its
-- balance guards its state, its claims and its units.
CREATE TABLE partners.programmes (
    id          uuid PRIMARY KEY,
    agency_id   uuid        NOT NULL,
    agency_name text        NOT NULL,
    made_by     uuid        NOT NULL,
    name        text        NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    message     text        NOT NULL CHECK (length(message) <= 1000),
    units_each  integer     NOT NULL CHECK (units_each > 0),
    salt        bytea       NOT NULL CHECK (length(salt) = 32),
    state       text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'ending', 'ended')),
    -- Who is invited and who has claimed, counted as they come.
    invited     integer     NOT NULL DEFAULT 0 CHECK (invited >= 0),
    claimed     integer     NOT NULL DEFAULT 0 CHECK (claimed BETWEEN 0 AND invited),
    ends_at     timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz CHECK ((ended_at IS NOT NULL) = (state = 'ended')),
    idempotency_key text    CHECK (length(idempotency_key) BETWEEN 1 AND 200),
    UNIQUE (agency_id, idempotency_key)
) WITH (fillfactor = 70);
CREATE INDEX programmes_of_agency ON partners.programmes (agency_id, id DESC);
CREATE INDEX programmes_to_end ON partners.programmes (ends_at) WHERE state <> 'ended';

-- Units that the agency put in.
CREATE TABLE partners.fundings (
    id              uuid PRIMARY KEY,
    programme_id    uuid        NOT NULL REFERENCES partners.programmes (id),
    units           bigint      NOT NULL CHECK (units > 0),
    made_by         uuid        NOT NULL,
    idempotency_key text        NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 200),
    funded_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (programme_id, idempotency_key)
);

-- Who may claim: a keyed hash of an identity's hash or of a code. Whoever reads this table learns no identity and no code.
CREATE TABLE partners.invited (
    programme_id uuid  NOT NULL REFERENCES partners.programmes (id),
    key          bytea NOT NULL CHECK (length(key) = 32),
    PRIMARY KEY (programme_id, key)
);

-- Invitation codes are drawn from the batch's id by a secret of this installation, so they can be fetched again.
CREATE TABLE partners.code_batches (
    id           uuid PRIMARY KEY,
    programme_id uuid        NOT NULL REFERENCES partners.programmes (id),
    quantity     integer     NOT NULL CHECK (quantity > 0),
    made_by      uuid        NOT NULL,
    -- So many of its codes open something.
    ready        integer     NOT NULL DEFAULT 0 CHECK (ready BETWEEN 0 AND quantity),
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX code_batches_of_programme ON partners.code_batches (programme_id, id);

-- A grant that was claimed. Once per identity or code, and once per account, whatever the code above believes.
-- `used_before` is what the account had used until then: what it used since counts as the grant's.
CREATE TABLE partners.claims (
    id           uuid PRIMARY KEY,
    programme_id uuid        NOT NULL,
    key          bytea       NOT NULL,
    account_id   uuid        NOT NULL,
    units        integer     NOT NULL CHECK (units > 0),
    used_before  bigint      NOT NULL CHECK (used_before >= 0),
    claimed_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    used         integer     CHECK (used >= 0),
    returned     integer     CHECK (returned >= 0),
    kept         integer     CHECK (kept >= 0),
    try_after    timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT claims_of_invited FOREIGN KEY (programme_id, key) REFERENCES partners.invited,
    CONSTRAINT claims_once_each_key UNIQUE (programme_id, key),
    CONSTRAINT claims_once_each_account UNIQUE (programme_id, account_id),
    CHECK (num_nonnulls(ended_at, used, returned, kept) IN (0, 4)),
    CHECK (ended_at IS NULL OR used + returned + kept = units)
) WITH (fillfactor = 80);
CREATE INDEX claims_of_account ON partners.claims (account_id, id DESC);
CREATE INDEX claims_open ON partners.claims (programme_id, try_after, id) WHERE ended_at IS NULL;

-- Units that went back to the agency: those that nobody had claimed, and those that were claimed and not used.
CREATE TABLE partners.grant_returns (
    id           uuid PRIMARY KEY,
    programme_id uuid        NOT NULL REFERENCES partners.programmes (id),
    what         text        NOT NULL CHECK (what IN ('unclaimed', 'claimed')),
    units        bigint      NOT NULL CHECK (units > 0),
    returned_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX grant_returns_of_programme ON partners.grant_returns (programme_id);
CREATE UNIQUE INDEX grant_returns_unclaimed_once ON partners.grant_returns (programme_id) WHERE what = 'unclaimed';

-- Wrong identities and codes, counted in windows per account and per address; a key is a digest and names nobody.
CREATE UNLOGGED TABLE partners.claim_tries (
    key     bytea PRIMARY KEY CHECK (length(key) = 32),
    tries   integer     NOT NULL CHECK (tries > 0),
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX claim_tries_end ON partners.claim_tries (ends_at);
