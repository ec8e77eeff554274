-- Cycles with a commitment that ended, by their calendar or by the end of their assignment, before a moment.
-- $1 before timestamptz   $2 after assignment_id bigint   $3 after number integer   $4 rows_max integer
-- Returns assignment_id, number, partition, ended_at: zero or more rows, in order.
SELECT c.assignment_id, c.number, o.partition, least(c.ends_at, a.effective_to) AS ended_at
FROM plan_cycles AS c
JOIN plan_assignments AS a ON a.id = c.assignment_id
JOIN accounts AS o ON o.id = c.account_id
WHERE c.closed_at IS NULL AND c.commit_nanos > 0 AND least(c.ends_at, a.effective_to) <= $1
    AND (c.assignment_id, c.number) > ($2, $3)
ORDER BY c.assignment_id, c.number
LIMIT $4
