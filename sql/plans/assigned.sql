-- Whether a plan is assigned to anybody, now or later.
-- $1 plan_id bigint
-- Returns assigned: one row.
SELECT EXISTS (
    SELECT FROM plan_assignments
    WHERE plan_id = $1 AND (effective_to IS NULL OR effective_to > greatest(now(), effective_from))
) AS assigned
