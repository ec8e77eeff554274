-- Assignments of usage plans of which a cycle is to begin: their first, or the one after the last that began.
-- $1 now timestamptz   $2 after_id bigint   $3 rows_max integer
-- Returns id: zero or more rows, by id.
SELECT a.id
FROM plan_usage AS u
JOIN plan_assignments AS a ON a.plan_id = u.plan_id
LEFT JOIN LATERAL (
    SELECT ends_at FROM plan_cycles WHERE assignment_id = a.id ORDER BY number DESC LIMIT 1
) AS last ON true
CROSS JOIN LATERAL (
    SELECT coalesce(last.ends_at, greatest(a.effective_from, u.created_at)) AS begins_at
) AS next
WHERE a.id > $2 AND next.begins_at <= $1 AND (a.effective_to IS NULL OR a.effective_to > next.begins_at)
ORDER BY a.id
LIMIT $3
