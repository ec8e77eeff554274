-- Lock a cycle that is not closed. Not waited for.
-- $1 assignment_id bigint   $2 number integer
-- Returns the columns of plan_cycles, and team_id, user_id, key_id, zone of its assignment: one row, or none when it is
-- closed, or while another has it.
SELECT c.*, a.team_id, a.user_id, a.key_id, a.zone
FROM plan_cycles AS c
JOIN plan_assignments AS a ON a.id = c.assignment_id
WHERE c.assignment_id = $1 AND c.number = $2 AND c.closed_at IS NULL
FOR UPDATE OF c SKIP LOCKED
