-- What a run has done so far to each account, the largest differences first.
-- $1 rerate_id bigint   $2 rows_max integer
-- Returns account_id, calls, old_nanos, new_nanos (numeric): zero or more rows.
SELECT account_id, count(*) AS calls, sum(old_nanos) AS old_nanos, sum(new_nanos) AS new_nanos
FROM corrections
WHERE rerate_id = $1
GROUP BY account_id
ORDER BY abs(sum(new_nanos - old_nanos)) DESC, account_id
LIMIT $2
