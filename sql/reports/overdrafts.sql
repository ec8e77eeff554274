-- Wallets that are below zero, or were, and since when those are that still are: the first movement behind the last
-- moment at which the balance was not negative. The ledger is walked back from its end, so many lines at most; since is
-- null where that does not reach the moment.
-- $1 account_id bigint or null (any)   $2 after_account_id bigint   $3 after_currency text   $4 rows_max integer
-- $5 lines_max integer
-- Returns account_id, currency, balance_nanos, worst_nanos, since: zero or more rows, by account.
SELECT w.account_id, w.currency, w.balance_nanos, w.worst_nanos, back.since
FROM wallets AS w
LEFT JOIN LATERAL (
    SELECT min(created_at) FILTER (WHERE above IS NULL OR transaction_id > above) AS since, min(above) AS above,
        count(*) AS lines
    FROM (
        SELECT transaction_id, created_at,
            -- The newest movement after which the balance was zero or more.
            max(transaction_id) FILTER (WHERE after_nanos >= 0) OVER () AS above
        FROM (
            SELECT transaction_id, created_at,
                w.balance_nanos - coalesce(
                    sum(amount_nanos) OVER (
                        ORDER BY transaction_id DESC, line DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    ), 0
                ) AS after_nanos
            FROM (
                SELECT transaction_id, line, created_at, amount_nanos
                FROM ledger_entries
                WHERE account_id = w.account_id AND currency = w.currency
                ORDER BY transaction_id DESC, line DESC
                LIMIT $5
            ) AS newest
        ) AS walked
    ) AS marked
    HAVING min(above) IS NOT NULL OR count(*) < $5
) AS back ON w.balance_nanos < 0
WHERE (w.worst_nanos < 0 OR w.balance_nanos < 0) AND ($1::bigint IS NULL OR w.account_id = $1) AND (w.account_id, w.currency) > ($2, $3)
ORDER BY w.account_id, w.currency
LIMIT $4
