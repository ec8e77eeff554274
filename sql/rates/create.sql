-- Put a rate on an account, or on one of its teams, users or keys.
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint   $4 key_id bigint (null but for the entity's)
-- $5 model_pattern text or null   $6 rpm bigint   $7 tpm bigint   $8 parallel bigint (null: no such limit)
-- Returns the columns of rates: one row.
INSERT INTO rates (account_id, team_id, user_id, key_id, model_pattern, rpm, tpm, parallel)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING *
