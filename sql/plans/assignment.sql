-- An assignment by its id.
-- $1 id bigint
-- Returns the columns of plan_assignments: one row or none.
SELECT * FROM plan_assignments WHERE id = $1
