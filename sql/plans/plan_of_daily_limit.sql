-- The plan of a daily limit.
-- $1 id bigint
-- Returns plan_id: one row or none.
SELECT plan_id FROM plan_daily_limits WHERE id = $1
