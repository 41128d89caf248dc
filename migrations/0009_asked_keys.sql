-- Idempotency keys that were answered with a stamp which another request had made, found by its file: asked again, such a
-- key is answered with the same stamp, whatever became of it. A key that made a stamp is on the stamp itself.
CREATE TABLE stamping.asked_keys (
    account_id      uuid  NOT NULL,
    idempotency_key text  NOT NULL,
    stamp_id        uuid  NOT NULL REFERENCES stamping.stamps,
    request_digest  bytea NOT NULL,
    PRIMARY KEY (account_id, idempotency_key)
);
