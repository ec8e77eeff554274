-- One rate, removed or not.
-- $1 id bigint
-- Returns the columns of rates: one row or none.
SELECT * FROM rates WHERE id = $1
