-- Keys by id, of one account or of all, with the prefix of their present secret, and when each was last used: that is
-- the newest of its usage rows, found by the index usage_key.
-- $1 account_id bigint or null   $2 after_id bigint   $3 rows_max integer
-- Returns the columns of key_records, last_used_at (null: never): zero or more rows.
SELECT k.*, used.admitted_at AS last_used_at
FROM (
    SELECT *
    FROM key_records
    WHERE current_secret AND key_id > $2 AND ($1::bigint IS NULL OR account_id = $1)
    ORDER BY key_id
    LIMIT $3
) AS k
LEFT JOIN LATERAL (
    SELECT admitted_at FROM usage WHERE usage.key_id = k.key_id ORDER BY usage.id DESC LIMIT 1
) AS used ON true
ORDER BY k.key_id
