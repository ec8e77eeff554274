-- The records of one key that Redis has to learn: those of its secrets that are good, and those of secrets that were
-- revoked since Redis last acknowledged the key.
-- $1 key_id bigint
-- Returns the columns of key_records, secret_ends_at (null: it does not by itself), secret_over, model_rules: one or more
-- rows, none when there is no such key.
SELECT
    r.*,
    s.revoked_at AS secret_ends_at,
    coalesce(s.revoked_at <= now(), false) AS secret_over,
    model_rules_above(r.account_id, r.team_id, r.user_id) AS model_rules
FROM key_records AS r
JOIN key_secrets AS s USING (secret_sha256)
WHERE r.key_id = $1 AND (r.current_secret OR s.revoked_at > now() OR r.secret_generation > r.redis_generation)
