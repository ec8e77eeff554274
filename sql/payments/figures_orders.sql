-- Orders of a span of time in one currency, by what became of them and by package.
-- $1 currency text   $2 from timestamptz   $3 to timestamptz
-- Returns status, package_credits, orders, amount_minor: zero or more rows.
SELECT status, package_credits, count(*) AS orders, sum(amount_minor)::bigint AS amount_minor
FROM payment_orders
WHERE currency = $1 AND created_at >= $2 AND created_at < $3
GROUP BY status, package_credits
ORDER BY status, package_credits NULLS FIRST
