-- Lines of wallets, newest first: of the next so many before a place those that are wanted, and the last of them in any
-- case: there the next look goes on. Planned anew each time (session/plan_anew.sql): a condition whose value is null is
-- then no part of the plan, and what is left is a walk down one index, of a wallet or of all transactions. Why a line
-- is there is looked up line by line, in the one partition where its transaction is.
-- $1 account_id bigint or null (any)   $2 currency text or null (any); with an account its own, which the index needs
-- $3 below transaction_id bigint   $4 below line integer   $5 lines to look at bigint
-- $6 begin of the first month timestamptz   $7 end of the last month timestamptz (other partitions are left out)
-- $8 kind text or null   $9 from timestamptz or null   $10 to timestamptz or null   $11 rows_max integer
-- Returns transaction_id, line, account_id, currency, amount_nanos, kind, ref, created_at, number (of those that were
-- looked at, from 1), wanted: zero or more rows.
WITH looked AS MATERIALIZED (
    SELECT walk.*, row_number() OVER () AS number
    FROM (
        SELECT transaction_id, line, account_id, currency, amount_nanos, created_at
        FROM ledger_entries
        WHERE account_id IS NOT NULL
            AND ($1::bigint IS NULL OR (account_id = $1 AND currency = $2::text))
            AND transaction_id <= $3::bigint AND (transaction_id, line) < ($3, $4::integer)
            AND created_at >= $6::timestamptz AND created_at < $7::timestamptz
        ORDER BY transaction_id DESC, line DESC
        LIMIT $5::bigint
    ) AS walk
), known AS (
    SELECT
        looked.*, t.kind, t.ref,
        ($2 IS NULL OR looked.currency = $2)
            AND ($8::text IS NULL OR t.kind = $8)
            AND ($9::timestamptz IS NULL OR looked.created_at >= $9)
            AND ($10::timestamptz IS NULL OR looked.created_at < $10) AS wanted
    FROM looked
    CROSS JOIN LATERAL (
        SELECT kind, ref
        FROM ledger_transactions
        WHERE id = looked.transaction_id AND created_at = looked.created_at
        LIMIT 1
    ) AS t
)
SELECT transaction_id, line, account_id, currency, amount_nanos, kind, ref, created_at, number, wanted
FROM known
WHERE wanted OR number = $5
ORDER BY transaction_id DESC, line DESC
LIMIT $11
