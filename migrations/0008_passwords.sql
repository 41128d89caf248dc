-- Locked files. `locked`: a password belongs to this document; its sender said so or, once it is ready, inspection found it.
ALTER TABLE stamping.documents ADD COLUMN locked boolean NOT NULL DEFAULT false;

-- Passwords on their way to the sealer, enciphered for their document (AES-256-GCM: nonce, ciphertext, tag). A row leaves
-- with the last stamp that was asked on the document, or when its short life is over.
CREATE TABLE stamping.passwords (
    document_id uuid PRIMARY KEY REFERENCES stamping.documents,
    enciphered  bytea       NOT NULL CHECK (length(enciphered) BETWEEN 29 AND 4096),
    expires_at  timestamptz NOT NULL
);
CREATE INDEX passwords_expiry ON stamping.passwords (expires_at);

-- How many passwords an account has tried on a file; forgotten with the right one, or when the window is over.
CREATE TABLE stamping.password_tries (
    account_id uuid        NOT NULL,
    digest     bytea       NOT NULL CHECK (length(digest) = 32),
    tries      integer     NOT NULL CHECK (tries > 0),
    ends_at    timestamptz NOT NULL,
    PRIMARY KEY (account_id, digest)
);
CREATE INDEX password_tries_end ON stamping.password_tries (ends_at);
