-- Raise the generation of each key of a user that is not revoked; the user's row is locked.
-- $1 user_id bigint
UPDATE api_keys SET generation = generation + 1 WHERE user_id = $1 AND revoked_at IS NULL
