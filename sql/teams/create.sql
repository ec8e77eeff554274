-- Make a team in an account.
-- $1 account_id bigint   $2 name text
-- Returns the columns of teams: one row, or none when there is no such account.
INSERT INTO teams (account_id, name)
SELECT id, $2 FROM accounts WHERE id = $1
RETURNING *
