-- The bill line that an id names, within one account: our id, or the newest of those with the caller's id.
-- $1 account_id bigint   $2 id uuid or null   $3 caller_request_id text
-- Returns one row or none.
SELECT *
FROM (
    SELECT * FROM usage WHERE id = $2 AND account_id = $1
    UNION ALL
    (SELECT * FROM usage WHERE account_id = $1 AND caller_request_id = $3 ORDER BY id DESC LIMIT 1)
) AS found
ORDER BY id DESC
LIMIT 1
