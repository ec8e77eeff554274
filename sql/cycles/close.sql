-- Close a cycle.
-- $1 assignment_id bigint   $2 number integer   $3 ended_at timestamptz   $4 due_nanos bigint   $5 spent_nanos numeric
-- $6 true_up_nanos bigint   $7 true_up_transaction_id bigint or null
UPDATE plan_cycles
SET ended_at = $3, due_nanos = $4, spent_nanos = $5, true_up_nanos = $6, true_up_transaction_id = $7, closed_at = now()
WHERE assignment_id = $1 AND number = $2
