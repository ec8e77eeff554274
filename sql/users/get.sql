-- One user.
-- $1 id bigint
-- Returns the columns of users: one row or none.
SELECT * FROM users WHERE id = $1
