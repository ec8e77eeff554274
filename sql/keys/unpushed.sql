-- Keys that changed since Redis last acknowledged them.
-- $1 after_id bigint   $2 rows_max integer
-- Returns id: zero or more rows, in order.
SELECT id FROM api_keys WHERE redis_generation < generation AND id > $1 ORDER BY id LIMIT $2
