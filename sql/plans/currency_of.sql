-- The billing currency of an account.
-- $1 account_id bigint
-- Returns currency: one row or none.
SELECT currency FROM accounts WHERE id = $1
