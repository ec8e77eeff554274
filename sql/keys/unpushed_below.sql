-- Keys below an entity that changed since Redis last acknowledged them.
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint   $4 key_id bigint (null but for the entity's)
-- $5 rows_max integer
-- Returns id: zero or more rows, in order.
SELECT k.id
FROM api_keys AS k
WHERE k.account_id = $1 AND k.redis_generation < k.generation AND CASE
    WHEN $4::bigint IS NOT NULL THEN k.id = $4
    WHEN $3::bigint IS NOT NULL THEN k.user_id = $3
    WHEN $2::bigint IS NOT NULL THEN k.user_id IN (SELECT id FROM users WHERE team_id = $2)
    ELSE true
END
ORDER BY k.id
LIMIT $5
