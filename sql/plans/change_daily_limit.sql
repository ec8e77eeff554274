-- Change a daily limit. Another zone or reset time holds from the next day on: the former ones are kept until then.
-- $1 id bigint   $2 limit_nanos bigint   $3 zone text   $4 reset_time text
-- $5 before_zone text, $6 before_reset_time text, $7 before_until timestamptz (all null: none)
UPDATE plan_daily_limits
SET limit_nanos = $2, zone = $3, reset_time = $4, before_zone = $5, before_reset_time = $6, before_until = $7
WHERE id = $1
