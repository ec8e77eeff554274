-- The key that a secret belongs to, or belonged to.
-- $1 secret_sha256 bytea
-- Returns the columns of key_records: one row or none.
SELECT * FROM key_records WHERE secret_sha256 = $1
