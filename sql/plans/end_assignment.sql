-- End an assignment now; one that has not begun never does. One that has ended stays so.
-- $1 id bigint
-- Returns the columns of plan_assignments: one row or none.
UPDATE plan_assignments
SET effective_to = greatest(effective_from, least(effective_to, now()))
WHERE id = $1
RETURNING *
