-- One key with the prefix of its present secret.
-- $1 key_id bigint
-- Returns the columns of key_records: one row or none.
SELECT * FROM key_records WHERE current_secret AND key_id = $1
