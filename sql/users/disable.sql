-- Disable or enable a user, and lock its row: a key that is being made for it waits, or is seen by what follows.
-- $1 id bigint   $2 disable boolean
-- Returns account_id: one row, or none when it is so already or not there.
UPDATE users
SET disabled_at = CASE WHEN $2 THEN now() END
WHERE id = $1 AND (disabled_at IS NULL) = $2
RETURNING account_id
