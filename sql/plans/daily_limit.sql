-- A daily limit by its own id.
-- $1 id bigint
-- Returns the columns of plan_daily_limits: one row or none.
SELECT * FROM plan_daily_limits WHERE id = $1
