-- All that Redis holds of an account, as one statement and so as one moment: what `load` writes.
-- Of each window the two newest spans with any use; revoked keys are left out, so that they are unknown there, and so
-- are windows that were removed.
-- $1 account_id bigint
-- Returns fact, name, span, value: no row when there is no such account.
SELECT 'partition' AS fact, '' AS name, '' AS span, partition::bigint AS value FROM accounts WHERE id = $1
UNION ALL
SELECT 'balance', currency, '', balance_nanos FROM wallets WHERE account_id = $1
UNION ALL
SELECT 'credit_seq', currency, '', credit_seq FROM wallets WHERE account_id = $1
UNION ALL
SELECT 'worst', currency, '', worst_nanos FROM wallets WHERE account_id = $1 AND worst_nanos < 0
UNION ALL
SELECT 'below_since_ms', currency, '', (extract(epoch FROM below_since) * 1000)::bigint
FROM wallets WHERE account_id = $1 AND below_since IS NOT NULL
UNION ALL
SELECT 'generation', id::text, '', generation FROM api_keys WHERE account_id = $1 AND revoked_at IS NULL
UNION ALL
SELECT 'used', windows.id::text, newest.span, newest.used_nanos
FROM windows
CROSS JOIN LATERAL (
    SELECT span, used_nanos FROM window_spans WHERE window_id = windows.id ORDER BY span DESC LIMIT 2
) AS newest
WHERE windows.account_id = $1 AND windows.removed_at IS NULL
