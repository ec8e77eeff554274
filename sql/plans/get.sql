-- A plan with its daily limit.
-- $1 id bigint
-- Returns the columns of plans, and limit_id, limit_nanos, zone, reset_time (null without a limit): one row or none.
SELECT p.*, l.id AS limit_id, l.limit_nanos, l.zone, l.reset_time
FROM plans AS p
LEFT JOIN plan_daily_limits AS l ON l.plan_id = p.id
WHERE p.id = $1
