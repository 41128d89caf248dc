-- The moment in which the last byte of a file was safe: written once, when the upload is whole, and never changed. Rows from
-- before have none; for them it is what changed_at says, never earlier than it was, and the next change of a row keeps that.
-- (To write it into all of them here would take longer than a migration may.)
ALTER TABLE stamping.documents ADD COLUMN received_at timestamptz;
