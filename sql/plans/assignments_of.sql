-- The assignments of one entity, newest first, ended ones too.
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint   $4 key_id bigint (null but for the entity's)
-- $5 rows_max integer
-- Returns the columns of plan_assignments: zero or more rows.
SELECT *
FROM plan_assignments
WHERE account_id = $1
    AND team_id IS NOT DISTINCT FROM $2
    AND user_id IS NOT DISTINCT FROM $3
    AND key_id IS NOT DISTINCT FROM $4
ORDER BY effective_from DESC, id DESC
LIMIT $5
