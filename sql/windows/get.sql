-- One window, removed or not; those of plans are changed by their plans.
-- $1 id bigint
-- Returns the columns of windows: one row or none.
SELECT * FROM windows WHERE id = $1 AND assignment_id IS NULL
