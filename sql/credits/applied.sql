-- Note that Redis has applied a wallet's credits up to a number.
-- $1 account_id bigint   $2 currency text   $3 seq bigint
UPDATE wallet_credits SET applied_at = now()
WHERE account_id = $1 AND currency = $2 AND seq <= $3 AND applied_at IS NULL
