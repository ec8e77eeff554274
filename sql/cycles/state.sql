-- By what the next cycle of an assignment begins: the plan's terms, and its last cycle.
-- $1 assignment_id bigint
-- Returns billing_cycle, commit_nanos, grant_nanos, terms_at, currency, last_number, last_ends_at (null: there was none):
-- one row.
SELECT u.billing_cycle, u.commit_nanos, u.grant_nanos, u.created_at AS terms_at, p.currency,
    c.number AS last_number, c.ends_at AS last_ends_at
FROM plan_assignments AS a
JOIN plan_usage AS u ON u.plan_id = a.plan_id
JOIN plans AS p ON p.id = a.plan_id
LEFT JOIN plan_cycles AS c ON c.assignment_id = a.id
WHERE a.id = $1
ORDER BY c.number DESC NULLS LAST
LIMIT 1
