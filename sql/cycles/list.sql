-- Cycles of an assignment, in order.
-- $1 assignment_id bigint   $2 after number bigint   $3 rows_max integer
-- Returns the columns of plan_cycles: zero or more rows.
SELECT * FROM plan_cycles WHERE assignment_id = $1 AND number > $2::bigint ORDER BY number LIMIT $3
