-- The spend windows that a key, a user, a team or an account stands under now, by id, and where its account is kept.
-- One of a plan has limit, zone and reset time of the plan's daily limit.
-- $1 account_id bigint   $2 key_id bigint or null   $3 user_id bigint or null   $4 team_id bigint or null
-- $5 rows_max integer
-- Returns id, key_id, user_id, team_id, plan_id, kind, limit_nanos, zone, reset_time, extra_nanos, extra_until,
-- partition, currency: zero or more rows.
SELECT
    w.id, w.key_id, w.user_id, w.team_id, p.plan_id, w.kind, coalesce(w.limit_nanos, l.limit_nanos) AS limit_nanos,
    CASE
        WHEN p.id IS NULL THEN w.zone
        WHEN now() < l.before_until THEN coalesce(p.zone, l.before_zone)
        ELSE coalesce(p.zone, l.zone)
    END AS zone,
    CASE
        WHEN p.id IS NULL THEN w.reset_time
        WHEN now() < l.before_until THEN l.before_reset_time
        ELSE l.reset_time
    END AS reset_time,
    w.extra_nanos, w.extra_until, a.partition, a.currency
FROM windows AS w
JOIN accounts AS a ON a.id = w.account_id
LEFT JOIN plan_assignments AS p ON p.id = w.assignment_id
LEFT JOIN plan_daily_limits AS l ON l.plan_id = p.plan_id
WHERE w.account_id = $1 AND w.removed_at IS NULL AND w.counts = 'limit'
    AND (
        p.id IS NULL
        OR (l.id IS NOT NULL AND p.effective_from <= now() AND (p.effective_to IS NULL OR p.effective_to > now()))
    )
    AND CASE
        WHEN w.key_id IS NOT NULL THEN w.key_id = $2
        WHEN w.user_id IS NOT NULL THEN w.user_id = $3
        WHEN w.team_id IS NOT NULL THEN w.team_id = $4
        ELSE true
    END
ORDER BY w.id
LIMIT $5
