-- A code by its hash.
-- $1 code_sha256 bytea
-- Returns id: one row or none.
SELECT id FROM credit_codes WHERE code_sha256 = $1
