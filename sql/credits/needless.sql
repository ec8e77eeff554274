-- Note that Redis needs no telling of a wallet's credits of some age: the account is not loaded, and any load that
-- is still to come reads a balance with them in it.
-- $1 account_id bigint   $2 currency text   $3 age interval
UPDATE wallet_credits SET applied_at = now()
WHERE account_id = $1 AND currency = $2 AND applied_at IS NULL AND created_at < now() - $3::interval
