-- Put a spend window on an account, or on one of its teams, users or keys.
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint   $4 key_id bigint (null but for the entity's)
-- $5 kind text   $6 limit_nanos bigint   $7 zone text   $8 reset_time text
-- Returns the columns of windows: one row.
INSERT INTO windows (account_id, team_id, user_id, key_id, kind, limit_nanos, zone, reset_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING *
