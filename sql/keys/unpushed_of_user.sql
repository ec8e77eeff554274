-- Keys of a user that changed since Redis last acknowledged them.
-- $1 user_id bigint   $2 rows_max integer
-- Returns id: zero or more rows, in order.
SELECT id FROM api_keys WHERE user_id = $1 AND redis_generation < generation ORDER BY id LIMIT $2
