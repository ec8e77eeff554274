-- One key with the prefix of its present secret, and when it was last used.
-- $1 key_id bigint
-- Returns the columns of key_records, last_used_at (null: never): one row or none.
SELECT k.*, used.admitted_at AS last_used_at
FROM (SELECT * FROM key_records WHERE current_secret AND key_id = $1) AS k
LEFT JOIN LATERAL (
    SELECT admitted_at FROM usage WHERE usage.key_id = k.key_id ORDER BY usage.id DESC LIMIT 1
) AS used ON true
