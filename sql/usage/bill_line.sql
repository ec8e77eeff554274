-- The bill line that an id names, within one account: our id, or the newest of those with the caller's id.
-- $1 account_id bigint   $2 id uuid or null   $3 caller_request_id text
-- Returns one row or none; its corrected_nanos is what the last of its corrections says, null without any.
SELECT *,
    (
        SELECT new_nanos FROM corrections AS c WHERE c.usage_id = found.id ORDER BY number DESC LIMIT 1
    ) AS corrected_nanos
FROM (
    SELECT * FROM usage WHERE id = $2 AND account_id = $1
    UNION ALL
    (SELECT * FROM usage WHERE account_id = $1 AND caller_request_id = $3 ORDER BY id DESC LIMIT 1)
) AS found
ORDER BY id DESC
LIMIT 1
