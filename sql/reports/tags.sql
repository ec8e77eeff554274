-- The tags that keys have now.
-- $1 key_id bigint[]
-- Returns id, tags: a row per key that has any.
SELECT id, tags FROM api_keys WHERE id = ANY ($1) AND tags <> '{}'
