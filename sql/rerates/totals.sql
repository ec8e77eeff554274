-- What a run has done so far.
-- $1 rerate_id bigint
-- Returns calls, accounts, old_nanos, new_nanos (numeric): one row.
SELECT count(*) AS calls, count(DISTINCT account_id) AS accounts, coalesce(sum(old_nanos), 0) AS old_nanos,
    coalesce(sum(new_nanos), 0) AS new_nanos
FROM corrections
WHERE rerate_id = $1
