-- Plans that changed since a revision, with what gateways need of them.
-- $1 revision bigint, the highest seen   $2 rows_max integer
-- Returns id, revision, currency, limit_nanos, zone, reset_time, before_zone, before_reset_time, before_until_ms,
-- overflow, grace_nanos, grace_charged, degrade_map (JSON), degrade_default, degrade_nanos, funding, shadow,
-- shadow_until_ms: zero or more rows, in the order of revisions.
SELECT
    p.id, p.revision, p.currency, l.limit_nanos, l.zone, l.reset_time, l.before_zone, l.before_reset_time,
    (extract(epoch FROM l.before_until) * 1000)::bigint AS before_until_ms,
    l.overflow, l.grace_nanos, l.grace_charged, l.degrade_map, l.degrade_default, l.degrade_nanos, l.funding, l.shadow,
    (extract(epoch FROM l.shadow_until) * 1000)::bigint AS shadow_until_ms
FROM plans AS p
LEFT JOIN plan_daily_limits AS l ON l.plan_id = p.id
WHERE p.revision > $1
ORDER BY p.revision
LIMIT $2
