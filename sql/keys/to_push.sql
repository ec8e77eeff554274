-- The records of one key that Redis has to learn: that of its present secret, and those of secrets that were
-- revoked since Redis last acknowledged the key.
-- $1 key_id bigint
-- Returns the columns of key_records: one or more rows, none when there is no such key.
SELECT * FROM key_records WHERE key_id = $1 AND (current_secret OR secret_generation > redis_generation)
