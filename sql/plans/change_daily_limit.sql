-- Change a daily limit. Another zone or reset time holds from the next day on: the former ones are kept until then.
-- $1 id bigint   $2 limit_nanos bigint   $3 zone text   $4 reset_time text   $5 overflow text[]
-- $6 grace_nanos bigint   $7 grace_charged boolean   $8 degrade_map jsonb   $9 degrade_default text or null
-- $10 degrade_nanos bigint or null   $11 funding text   $12 shadow boolean
-- $13 before_zone text, $14 before_reset_time text, $15 before_until timestamptz (all null: none)
-- $16 shadow_until timestamptz or null
UPDATE plan_daily_limits
SET limit_nanos = $2, zone = $3, reset_time = $4, overflow = $5, grace_nanos = $6, grace_charged = $7,
    degrade_map = $8, degrade_default = $9, degrade_nanos = $10, funding = $11, shadow = $12,
    before_zone = $13, before_reset_time = $14, before_until = $15, shadow_until = $16
WHERE id = $1
