-- Make an account in the next partition, with an empty wallet in its currency.
-- $1 name text   $2 currency text
-- Returns one row: id, name, currency, partition, created_at.
WITH made AS (
    INSERT INTO accounts (id, name, currency, partition)
    SELECT next.id, $1, $2, next.id % deployment.partitions
    FROM deployment, nextval('accounts_id_seq') AS next (id)
    RETURNING id, name, currency, partition, created_at
), wallet AS (
    INSERT INTO wallets (account_id, currency) SELECT id, currency FROM made
)
SELECT id, name, currency, partition, created_at FROM made
