-- Corrections that do not begin where the one before them ended, or the call itself.
-- $1 rows_max integer
-- Returns usage_id, account_id, number, old_nanos, before_nanos (null: nothing is before it): zero or more rows.
SELECT c.usage_id, c.account_id, c.number, c.old_nanos, coalesce(b.new_nanos, u.charge_nanos) AS before_nanos
FROM corrections AS c
LEFT JOIN corrections AS b ON b.usage_id = c.usage_id AND b.number = c.number - 1
LEFT JOIN usage AS u ON u.id = c.usage_id AND c.number = 1
WHERE (c.account_id, c.old_version, c.old_nanos) IS DISTINCT FROM (
    coalesce(b.account_id, u.account_id), coalesce(b.new_version, u.price_version), coalesce(b.new_nanos, u.charge_nanos)
)
ORDER BY c.usage_id, c.number
LIMIT $1
