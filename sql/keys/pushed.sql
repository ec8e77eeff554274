-- Note what Redis has acknowledged. A message that comes late lowers nothing.
-- $1 key_id bigint   $2 generation bigint
UPDATE api_keys SET redis_generation = $2 WHERE id = $1 AND redis_generation < $2
