-- Lock a code for the rest of the transaction: its uses are counted and taken by one at a time.
-- $1 id bigint
-- Returns the columns of credit_codes, expired boolean: one row or none.
SELECT *, coalesce(expires_at <= now(), false) AS expired FROM credit_codes WHERE id = $1 FOR NO KEY UPDATE
