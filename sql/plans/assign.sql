-- Assign a plan, with the windows to count in where it can have a daily limit.
-- $1 plan_id bigint   $2 account_id bigint   $3 team_id bigint   $4 user_id bigint   $5 key_id bigint
-- $6 zone text or null   $7 effective_from timestamptz   $8 effective_to timestamptz or null
-- Returns the columns of plan_assignments: one row.
WITH made AS (
    INSERT INTO plan_assignments (plan_id, account_id, team_id, user_id, key_id, zone, effective_from, effective_to)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    RETURNING *
), counted AS (
    INSERT INTO windows (account_id, team_id, user_id, key_id, kind, assignment_id, counts)
    SELECT made.account_id, made.team_id, made.user_id, made.key_id, 'day', made.id, c.counts
    FROM made
    JOIN plans ON plans.id = made.plan_id
    CROSS JOIN (VALUES ('limit'), ('grace'), ('degrade')) AS c (counts)
    WHERE plans.type = 'daily_limit'
)
SELECT * FROM made
