-- A file that only qpdf could read is written anew before it is stamped: the seal goes on the repaired bytes.
-- documents.digest stays the digest of what the person sent.
ALTER TABLE stamping.documents
    ADD COLUMN repaired_key    text,
    ADD COLUMN repaired_bytes  bigint,
    ADD COLUMN repaired_digest bytea,
    ADD CONSTRAINT documents_repaired CHECK (
        num_nulls(repaired_key, repaired_bytes, repaired_digest) = 3
        OR (num_nulls(repaired_key, repaired_bytes, repaired_digest) = 0
            AND repaired_bytes > 0 AND length(repaired_digest) = 32)
    ) NOT VALID;
