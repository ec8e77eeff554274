-- Terms of usage by their own id, or by that of their plan.
-- $1 id bigint or null   $2 plan_id bigint or null
-- Returns the columns of plan_usage: one row or none.
SELECT * FROM plan_usage WHERE id = $1 OR plan_id = $2
