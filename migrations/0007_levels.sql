-- What was appended to sealed files later, to raise their level. `level`, `sealed_size_bytes` and `sealed_digest` are
-- those of the file as it is now; `tail_key` and `tail_bytes` stay what they were when it was sealed.
ALTER TABLE stamping.stamps
    ADD COLUMN addendum_keys  text[]   NOT NULL DEFAULT '{}',
    ADD COLUMN addendum_bytes bigint[] NOT NULL DEFAULT '{}',
    ADD CHECK (cardinality(addendum_keys) = cardinality(addendum_bytes)),
    ADD CHECK (cardinality(addendum_keys) = 0 OR state = 'sealed');
