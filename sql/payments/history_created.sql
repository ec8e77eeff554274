-- When an entry of an account's history was made.
-- $1 account_id bigint   $2 id text
-- Returns created: one row or none.
SELECT created FROM billing_history WHERE account_id = $1 AND id = $2
