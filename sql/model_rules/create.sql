-- Put a rule on an account, or on one of its teams or users, where none is in force.
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint (null but for the entity's)
-- $4 allow text[] or null   $5 deny text[] or null
-- Returns the columns of model_rules: one row.
INSERT INTO model_rules (account_id, team_id, user_id, allow, deny) VALUES ($1, $2, $3, $4, $5) RETURNING *
