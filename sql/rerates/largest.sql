-- The calls of a run that changed most.
-- $1 rerate_id bigint   $2 rows_max integer
-- Returns usage_id, account_id, old_nanos, new_nanos: zero or more rows.
SELECT usage_id, account_id, old_nanos, new_nanos
FROM corrections
WHERE rerate_id = $1
ORDER BY abs(new_nanos - old_nanos) DESC, usage_id
LIMIT $2
