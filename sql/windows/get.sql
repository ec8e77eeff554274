-- One window, removed or not.
-- $1 id bigint
-- Returns the columns of windows: one row or none.
SELECT * FROM windows WHERE id = $1
