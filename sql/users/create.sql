-- Make a user in an account.
-- $1 account_id bigint   $2 name text   $3 email text or null   $4 external_id text or null
-- $5 team_id bigint or null
-- Returns the columns of users: one row, or none when there is no such account.
INSERT INTO users (account_id, name, email, external_id, team_id)
SELECT id, $2, $3, $4, $5 FROM accounts WHERE id = $1
RETURNING *
