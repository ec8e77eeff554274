-- Users: the people and programs inside an account, whose keys and calls are told apart.
--
-- A user stays in one account for life: the application's role may not write account_id, and a key's user is always
-- of the key's own account. A call keeps the user that its key had when it was admitted, so usage carries no foreign
-- key here either.

CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    email text CHECK (length(email) BETWEEN 3 AND 254),
    external_id text CHECK (length(external_id) BETWEEN 1 AND 255),
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_of_account UNIQUE (account_id, id)
);
COMMENT ON TABLE users IS 'Who calls, within an account. While disabled_at is set none of the user''s keys is good.';
COMMENT ON COLUMN users.external_id IS 'The operator''s own name for the user.';
CREATE UNIQUE INDEX users_email ON users (account_id, lower(email)) WHERE email IS NOT NULL;
CREATE UNIQUE INDEX users_external_id ON users (account_id, external_id) WHERE external_id IS NOT NULL;
SELECT app_may('SELECT, INSERT, UPDATE (name, email, external_id, disabled_at)', 'users');

ALTER TABLE api_keys
    ADD COLUMN user_id bigint,
    ADD CONSTRAINT api_keys_user_of_account
        FOREIGN KEY (account_id, user_id) REFERENCES users (account_id, id);
COMMENT ON COLUMN api_keys.user_id IS 'Whose key it is; null: nobody''s in particular.';
CREATE INDEX api_keys_user ON api_keys (user_id) WHERE user_id IS NOT NULL;

CREATE OR REPLACE VIEW key_records AS
SELECT
    s.secret_sha256,
    s.prefix,
    s.generation AS secret_generation,
    s.revoked_at IS NULL AS current_secret,
    k.id AS key_id,
    k.account_id,
    a.partition,
    a.currency,
    k.generation,
    k.redis_generation,
    k.name,
    k.models,
    k.expires_at,
    k.revoked_at,
    k.created_at,
    k.revoked_at IS NOT NULL OR s.revoked_at IS NOT NULL AS revoked,
    (
        SELECT coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'window_id', w.id, 'key_id', w.key_id, 'kind', w.kind, 'limit_nanos', w.limit_nanos,
                    'zone', w.zone, 'reset_time', w.reset_time
                ) ORDER BY w.id
            ),
            '[]'
        )
        FROM windows AS w
        WHERE w.account_id = k.account_id AND (w.key_id = k.id OR w.key_id IS NULL)
    ) AS windows,
    k.user_id,
    u.disabled_at IS NOT NULL AS user_disabled
FROM key_secrets AS s
JOIN api_keys AS k ON k.id = s.key_id
JOIN accounts AS a ON a.id = k.account_id
LEFT JOIN users AS u ON u.id = k.user_id;

ALTER TYPE usage_event ADD ATTRIBUTE user_id bigint;
ALTER TABLE usage ADD COLUMN user_id bigint;
COMMENT ON COLUMN usage.user_id IS 'Whose key it was when the call was admitted.';
-- With usage_account, which was there: a page of an account's, a key's or a user's calls, newest first, is a walk
-- down one index.
CREATE INDEX usage_key ON usage (key_id, id DESC) WHERE key_id IS NOT NULL;
CREATE INDEX usage_user ON usage (user_id, id DESC) WHERE user_id IS NOT NULL;
