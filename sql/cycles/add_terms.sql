-- Give a plan its terms of usage.
-- $1 plan_id bigint   $2 billing_cycle text   $3 commit_nanos bigint   $4 grant_nanos bigint   $5 tier text or null
-- $6 included_credits bigint or null   $7 price_per_1k text or null
-- Returns id: one row, or none when the plan has some already.
INSERT INTO plan_usage (plan_id, billing_cycle, commit_nanos, grant_nanos, tier, included_credits, price_per_1k)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (plan_id) DO NOTHING
RETURNING id
