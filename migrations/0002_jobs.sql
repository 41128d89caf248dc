-- Work that outlives a process: claimed under a lease, found again when the lease runs out.
CREATE SCHEMA IF NOT EXISTS infra;

CREATE TABLE infra.jobs (
    id          uuid PRIMARY KEY,
    kind        text        NOT NULL,
    run_at      timestamptz NOT NULL DEFAULT now(),
    attempts    integer     NOT NULL DEFAULT 0,
    worker      uuid,
    lease_until timestamptz CHECK ((lease_until IS NULL) = (worker IS NULL)),
    created_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX jobs_ready ON infra.jobs (kind, run_at) WHERE worker IS NULL;
CREATE INDEX jobs_leased ON infra.jobs (lease_until) WHERE worker IS NOT NULL;
