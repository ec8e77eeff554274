-- Add changes of usage into its rollups, if nobody else is at it; the lock is the transaction's.
-- $1 lock_id bigint   $2 rows_max bigint
-- Returns folded: one row, null while another folds.
SELECT CASE WHEN pg_try_advisory_xact_lock($1) THEN usage_fold($2) END AS folded
