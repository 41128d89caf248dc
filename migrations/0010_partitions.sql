-- Tables that only grow are partitioned by month, by the time in their UUIDv7 keys. docs/decisions/0013 says which and why.

-- The smallest UUIDv7 of a moment (RFC 9562 section 5.7: 48 bits of milliseconds come first).
CREATE FUNCTION infra.first_id_of(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT
RETURN (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- One month (UTC) of a partitioned table. It is made aside, like the default partition in all its indexes and triggers,
-- and then attached, which readers and writers of the parent do not wait for, save a moment for the empty default partition.
CREATE FUNCTION infra.add_month(schema_name name, table_name name, month date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part   constant text := format('%I.%I', schema_name, table_name || to_char(month, '_YYYY_MM'));
    model  constant text := format('%I.%I', schema_name, table_name || '_default');
    guard  text;
BEGIN
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', part, model);
    -- Triggers for each row come with the parent; those for a statement (TRUNCATE) every partition has for itself.
    FOR guard IN SELECT replace(pg_get_triggerdef(oid), ' ON ' || model || ' ', ' ON ' || part || ' ')
        FROM pg_trigger WHERE tgrelid = model::regclass AND NOT tgisinternal AND tgparentid = 0
    LOOP
        EXECUTE guard;
    END LOOP;
    EXECUTE format('ALTER TABLE %I.%I ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', schema_name, table_name, part,
        infra.first_id_of(month::timestamp AT TIME ZONE 'UTC'),
        infra.first_id_of((month + interval '1 month') AT TIME ZONE 'UTC'));
END $$;

ALTER TABLE ledger.transfers RENAME TO transfers_first;
-- Of the indexes, `transfers_one_ending` keeps its name: the whole has none of its kind.
ALTER INDEX ledger.transfers_pkey RENAME TO transfers_first_pkey;
ALTER INDEX ledger.transfers_spent RENAME TO transfers_first_spent;
ALTER INDEX ledger.transfers_credited RENAME TO transfers_first_credited;
ALTER INDEX ledger.transfers_money RENAME TO transfers_first_money;
DROP TRIGGER transfers_immutable ON ledger.transfers_first;

CREATE TABLE ledger.transfers (LIKE ledger.transfers_first INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (id);
ALTER TABLE ledger.transfers ADD CONSTRAINT transfers_pkey PRIMARY KEY (id);
CREATE INDEX transfers_spent ON ledger.transfers (debit, posted_at, id)
    WHERE kind IN ('hold', 'settle', 'release', 'refund');
CREATE INDEX transfers_credited ON ledger.transfers (credit, posted_at, id) WHERE kind = 'credit';
CREATE INDEX transfers_money ON ledger.transfers (subject) WHERE kind = 'money';
CREATE TRIGGER transfers_immutable BEFORE UPDATE OR DELETE ON ledger.transfers
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER transfers_not_truncated BEFORE TRUNCATE ON ledger.transfers
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- What was written so far stays where it is and becomes a partition as a whole. A ledger with ids that are no UUIDv7
-- keeps them in the default partition.
DO $$
DECLARE
    this_month constant date := date_trunc('month', now() AT TIME ZONE 'UTC');
    first_id   constant uuid := infra.first_id_of(this_month::timestamp AT TIME ZONE 'UTC');
    next_id    constant uuid := infra.first_id_of((this_month + interval '1 month') AT TIME ZONE 'UTC');
    has_older  constant boolean := EXISTS (SELECT FROM ledger.transfers_first WHERE id < first_id);
BEGIN
    IF EXISTS (SELECT FROM ledger.transfers_first WHERE id >= next_id) THEN
        ALTER TABLE ledger.transfers_first RENAME TO transfers_default;
        ALTER TABLE ledger.transfers ATTACH PARTITION ledger.transfers_default DEFAULT;
    ELSE
        EXECUTE format('ALTER TABLE ledger.transfers ATTACH PARTITION ledger.transfers_first FOR VALUES FROM (%s) TO (%L)',
            CASE WHEN has_older THEN 'MINVALUE' ELSE quote_literal(first_id) END, next_id);
        CREATE TABLE ledger.transfers_default PARTITION OF ledger.transfers DEFAULT;
        -- A hold ends at most once. Each partition sees to it for its own rows: docs/decisions/0013.
        CREATE UNIQUE INDEX transfers_default_one_ending ON ledger.transfers_default (hold_id) WHERE hold_id IS NOT NULL;
        CREATE TRIGGER transfers_not_truncated BEFORE TRUNCATE ON ledger.transfers_default
            FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
    END IF;
    FOR ahead IN 1..3 LOOP
        PERFORM infra.add_month('ledger', 'transfers', (this_month + make_interval(months => ahead))::date);
    END LOOP;
END $$;

-- Rows of open holds come and go as fast as stamps are made, like jobs: what is dead must not wait for a fifth of the table.
ALTER TABLE ledger.holds SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
