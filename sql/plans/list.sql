-- Plans by id, archived ones too, each with its daily limit.
-- $1 after_id bigint   $2 rows_max integer
-- Returns the columns of plans, and limit_id and those of the limit: zero or more rows.
SELECT p.*, l.id AS limit_id, l.limit_nanos, l.zone, l.reset_time, l.overflow, l.grace_nanos, l.grace_charged,
    l.degrade_map, l.degrade_default, l.degrade_nanos, l.funding, l.shadow
FROM plans AS p
LEFT JOIN plan_daily_limits AS l ON l.plan_id = p.id
WHERE p.id > $1
ORDER BY p.id
LIMIT $2
