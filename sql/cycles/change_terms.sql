-- Change terms of usage, all but the length of a cycle.
-- $1 id bigint   $2 commit_nanos bigint   $3 grant_nanos bigint   $4 tier text or null
-- $5 included_credits bigint or null   $6 price_per_1k text or null
UPDATE plan_usage
SET commit_nanos = $2, grant_nanos = $3, tier = $4, included_credits = $5, price_per_1k = $6
WHERE id = $1
