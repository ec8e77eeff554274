-- Give a key a new secret.
-- $1 secret_sha256 bytea   $2 key_id bigint   $3 prefix text   $4 generation bigint
INSERT INTO key_secrets (secret_sha256, key_id, prefix, generation) VALUES ($1, $2, $3, $4)
