-- The lanes of the front door, changed while it runs; what the processes measure; how many are let in.
CREATE SCHEMA IF NOT EXISTS gate;

-- A lane without a row is as core says it is by default.
CREATE TABLE gate.lanes (
    name   text  PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9-]{0,39}$'),
    lane   jsonb NOT NULL,
    change bigint NOT NULL
);

-- Who changed what, and when. An undo is a change like any other.
CREATE TABLE gate.lane_changes (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    by     text  NOT NULL CHECK (length(by) BETWEEN 1 AND 200),
    lane   text  NOT NULL,
    before jsonb,
    after  jsonb,
    undoes bigint REFERENCES gate.lane_changes (number),
    CHECK (before IS DISTINCT FROM after)
);
CREATE INDEX lane_changes_newest ON gate.lane_changes (lane, number DESC);
CREATE FUNCTION gate.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was changed stays on record';
END $$;
CREATE TRIGGER lane_changes_immutable BEFORE UPDATE OR DELETE ON gate.lane_changes
    FOR EACH ROW EXECUTE FUNCTION gate.refuse_change();
CREATE TRIGGER lane_changes_not_truncated BEFORE TRUNCATE ON gate.lane_changes
    FOR EACH STATEMENT EXECUTE FUNCTION gate.refuse_change();

-- Which lane an account's API keys belong to, where it is not the ordinary one.
CREATE TABLE gate.lane_accounts (
    account_id uuid PRIMARY KEY,
    lane       text NOT NULL
);

-- What each process measured last. Nobody misses it after a crash: it is a second old.
CREATE UNLOGGED TABLE gate.readings (
    process uuid PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    reading jsonb NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 200);

-- How many people are let in a second, by lane. Whoever reads an old one lets fewer and fewer in, down to the floor.
CREATE UNLOGGED TABLE gate.paces (
    lane text PRIMARY KEY,
    at   timestamptz NOT NULL DEFAULT now(),
    pace jsonb NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 200);

-- One process at a time decides; another takes over when it falls silent.
CREATE TABLE gate.controller (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder      uuid        NOT NULL,
    lease_until timestamptz NOT NULL
);
