-- Lock an account against new keys, users and teams while what stands above its keys is changed.
-- $1 account_id bigint
-- Returns currency: one row or none.
SELECT currency FROM accounts WHERE id = $1 FOR UPDATE
