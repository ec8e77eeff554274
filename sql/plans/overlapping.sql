-- Assignments of plans of one type to one entity that share time with a span.
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint   $4 key_id bigint (null but for the entity's)
-- $5 type text   $6 effective_from timestamptz   $7 effective_to timestamptz or null (for good)
-- Returns id, plan_id: zero or more rows.
SELECT a.id, a.plan_id
FROM plan_assignments AS a
JOIN plans AS p ON p.id = a.plan_id
WHERE a.account_id = $1
    AND a.team_id IS NOT DISTINCT FROM $2
    AND a.user_id IS NOT DISTINCT FROM $3
    AND a.key_id IS NOT DISTINCT FROM $4
    AND p.type = $5
    AND tstzrange(a.effective_from, a.effective_to) && tstzrange($6, $7)
ORDER BY a.id
