-- A plan with its daily limit.
-- $1 id bigint
-- Returns the columns of plans, and limit_id and those of its limit (null without one): one row or none.
SELECT p.*, l.id AS limit_id, l.limit_nanos, l.zone, l.reset_time, l.overflow, l.grace_nanos, l.grace_charged,
    l.degrade_map, l.degrade_default, l.degrade_nanos, l.funding, l.shadow
FROM plans AS p
LEFT JOIN plan_daily_limits AS l ON l.plan_id = p.id
WHERE p.id = $1
