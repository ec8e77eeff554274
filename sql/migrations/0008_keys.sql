-- Keys that can be changed after they were made.
--
-- A rotation may leave the secret before it good for a while: key_secrets.revoked_at then lies in the future. The one
-- present secret of a key is still the one without it.

SELECT app_may('UPDATE (name, models, models_denied, scopes, ip_allowlist, metadata, tags, expires_at)', 'api_keys');

COMMENT ON COLUMN key_secrets.revoked_at IS 'From when on the secret is no good; in the future after a rotation with a grace period.';
