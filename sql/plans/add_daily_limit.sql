-- Give a plan its daily limit.
-- $1 plan_id bigint   $2 limit_nanos bigint   $3 zone text   $4 reset_time text   $5 overflow text[]
-- $6 grace_nanos bigint   $7 grace_charged boolean   $8 degrade_map jsonb   $9 degrade_default text or null
-- $10 degrade_nanos bigint or null   $11 funding text   $12 shadow boolean
-- Returns id: one row, or none when the plan has one already.
INSERT INTO plan_daily_limits (
    plan_id, limit_nanos, zone, reset_time, overflow, grace_nanos, grace_charged, degrade_map, degrade_default,
    degrade_nanos, funding, shadow
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (plan_id) DO NOTHING
RETURNING id
