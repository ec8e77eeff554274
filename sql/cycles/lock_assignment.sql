-- Lock an assignment of a usage plan, so that nobody else begins a cycle of it or ends it. Not waited for.
-- $1 id bigint
-- Returns account_id, zone, effective_from, effective_to: one row, or none while another has it.
SELECT account_id, zone, effective_from, effective_to
FROM plan_assignments
WHERE id = $1
FOR NO KEY UPDATE SKIP LOCKED
