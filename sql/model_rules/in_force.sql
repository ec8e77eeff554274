-- The rule in force on an account, or on one of its teams or users.
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint (null but for the entity's)
-- Returns the columns of model_rules: one row or none.
SELECT *
FROM model_rules
WHERE account_id = $1 AND team_id IS NOT DISTINCT FROM $2 AND user_id IS NOT DISTINCT FROM $3 AND removed_at IS NULL
