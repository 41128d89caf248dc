-- Groups: an account of its own that members act for. Its id is its quota account; the lock on that account's balance
-- guards members, limits and what they spend.
CREATE TABLE accounts.groups (
    id         uuid PRIMARY KEY,
    name       text        NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    timezone   text        NOT NULL CHECK (timezone IN ('Asia/Jakarta', 'Asia/Makassar', 'Asia/Jayapura')),
    created_by uuid        NOT NULL REFERENCES accounts.accounts (id),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A limit that is null is none. `spent` and the days count units that are held or used; what is given back leaves them.
-- Who left and comes back goes on counting where he stopped.
CREATE TABLE accounts.members (
    group_id      uuid        NOT NULL REFERENCES accounts.groups (id),
    account_id    uuid        NOT NULL REFERENCES accounts.accounts (id),
    role          text        NOT NULL CHECK (role IN ('owner', 'manager', 'member')),
    units_a_day   integer     CHECK (units_a_day >= 0),
    units_a_month integer     CHECK (units_a_month >= 0),
    units_in_all  integer     CHECK (units_in_all >= 0),
    spent         bigint      NOT NULL DEFAULT 0 CHECK (spent >= 0),
    joined_at     timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    PRIMARY KEY (group_id, account_id)
) WITH (fillfactor = 80);
CREATE INDEX members_of_account ON accounts.members (account_id) WHERE ended_at IS NULL;

-- One day of one member, in the group's zone.
CREATE TABLE accounts.member_days (
    group_id   uuid    NOT NULL,
    account_id uuid    NOT NULL,
    day        date    NOT NULL,
    units      integer NOT NULL CHECK (units >= 0),
    PRIMARY KEY (group_id, account_id, day),
    FOREIGN KEY (group_id, account_id) REFERENCES accounts.members
) WITH (fillfactor = 80);

-- Of an invitation's code only the SHA-256 is kept. With a contact it is for whoever has that contact and for nobody else.
CREATE TABLE accounts.invitations (
    id            uuid PRIMARY KEY,
    group_id      uuid        NOT NULL REFERENCES accounts.groups (id),
    digest        bytea       NOT NULL UNIQUE CHECK (length(digest) = 32),
    contact       text        CHECK (length(contact) BETWEEN 6 AND 254),
    role          text        NOT NULL CHECK (role IN ('owner', 'manager', 'member')),
    units_a_day   integer     CHECK (units_a_day >= 0),
    units_a_month integer     CHECK (units_a_month >= 0),
    units_in_all  integer     CHECK (units_in_all >= 0),
    invited_by    uuid        NOT NULL REFERENCES accounts.accounts (id),
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    accepted_by   uuid        REFERENCES accounts.accounts (id),
    ended_at      timestamptz CHECK (accepted_by IS NULL OR ended_at IS NOT NULL)
);
CREATE INDEX invitations_open ON accounts.invitations (group_id, id) WHERE ended_at IS NULL;

-- Who did what for the group: a history that only grows.
CREATE TABLE accounts.deeds (
    id       uuid PRIMARY KEY,
    group_id uuid        NOT NULL REFERENCES accounts.groups (id),
    actor    uuid        NOT NULL REFERENCES accounts.accounts (id),
    kind     text        NOT NULL,
    subject  uuid,
    facts    jsonb       NOT NULL DEFAULT '{}',
    done_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deeds_of_group ON accounts.deeds (group_id, done_at DESC, id DESC);
CREATE INDEX deeds_of_member ON accounts.deeds (group_id, actor, done_at DESC, id DESC);
CREATE UNIQUE INDEX deeds_once ON accounts.deeds (subject, kind) WHERE kind IN ('stamped', 'given_back', 'ordered');

CREATE FUNCTION accounts.refuse_deed_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the history of a group only grows';
END $$;
CREATE TRIGGER deeds_immutable BEFORE UPDATE OR DELETE ON accounts.deeds
    FOR EACH ROW EXECUTE FUNCTION accounts.refuse_deed_change();
CREATE TRIGGER deeds_not_truncated BEFORE TRUNCATE ON accounts.deeds
    FOR EACH STATEMENT EXECUTE FUNCTION accounts.refuse_deed_change();

-- A key that is bound to a group acts for it and for nobody else.
ALTER TABLE accounts.api_keys ADD COLUMN group_id uuid REFERENCES accounts.groups (id);

-- The member who sent a document or asked for a stamp for a group; null is the account itself.
ALTER TABLE stamping.documents ADD COLUMN made_by uuid;
ALTER TABLE stamping.stamps ADD COLUMN made_by uuid;
CREATE INDEX documents_made_by ON stamping.documents (account_id, made_by, created_at DESC, id DESC)
    WHERE made_by IS NOT NULL;
CREATE INDEX stamps_made_by ON stamping.stamps (account_id, made_by, held_at DESC, id DESC) WHERE made_by IS NOT NULL;
