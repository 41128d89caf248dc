-- Each job belongs to a lane, which has its share of the sealers' time. The index finds the oldest of each lane, and,
-- by one probe each, the lanes that have work at all.
ALTER TABLE infra.jobs ADD lane text NOT NULL DEFAULT 'retail' CHECK (length(lane) <= 40);
DROP INDEX infra.jobs_ready;
CREATE INDEX jobs_ready ON infra.jobs (kind, lane, run_at) WHERE worker IS NULL;
