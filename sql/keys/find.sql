-- The key that a secret belongs to, or belonged to.
-- $1 secret_sha256 bytea
-- Returns the columns of key_records, secret_ends_at (null: it does not by itself), secret_over, model_rules: one row or none.
SELECT
    r.*,
    s.revoked_at AS secret_ends_at,
    coalesce(s.revoked_at <= now(), false) AS secret_over,
    model_rules_above(r.account_id, r.team_id, r.user_id) AS model_rules
FROM key_records AS r
JOIN key_secrets AS s USING (secret_sha256)
WHERE secret_sha256 = $1
