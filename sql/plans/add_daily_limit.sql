-- Give a plan its daily limit.
-- $1 plan_id bigint   $2 limit_nanos bigint   $3 zone text   $4 reset_time text
-- Returns id: one row, or none when the plan has one already.
INSERT INTO plan_daily_limits (plan_id, limit_nanos, zone, reset_time)
VALUES ($1, $2, $3, $4)
ON CONFLICT (plan_id) DO NOTHING
RETURNING id
