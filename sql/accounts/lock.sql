-- Lock an account while what stands above its keys is changed. A key that is being made in it waits (by the foreign
-- key), or is seen by the statements that follow.
-- $1 account_id bigint
-- Returns id: one row, or none when there is no such account.
SELECT id FROM accounts WHERE id = $1 FOR UPDATE
