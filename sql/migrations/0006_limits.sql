-- Limits at every level above a call: account, team, user, key. A spend window or a rate sits on one of them, and a
-- call must pass all above its key. Teams group the users of an account.
--
-- Limits and teams are never deleted: what was counted is in the books under their ids. removed_at takes them out.

CREATE TABLE teams (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT teams_of_account UNIQUE (account_id, id)
);
COMMENT ON TABLE teams IS 'Users of an account that limits and reports take together.';
SELECT app_may('SELECT, INSERT, UPDATE (name)', 'teams');

ALTER TABLE users
    ADD COLUMN team_id bigint,
    ADD CONSTRAINT users_team_of_account FOREIGN KEY (account_id, team_id) REFERENCES teams (account_id, id);
COMMENT ON COLUMN users.team_id IS 'The team that the user is in; null: none.';
CREATE INDEX users_team ON users (team_id) WHERE team_id IS NOT NULL;
SELECT app_may('UPDATE (team_id)', 'users');

ALTER TABLE windows
    DROP CONSTRAINT windows_kind_check,
    ADD COLUMN user_id bigint,
    ADD COLUMN team_id bigint,
    ADD COLUMN extra_nanos bigint NOT NULL DEFAULT 0 CHECK (extra_nanos BETWEEN 0 AND 9000000000000000000),
    ADD COLUMN extra_until timestamptz,
    ADD COLUMN removed_at timestamptz,
    ADD CONSTRAINT windows_kind_check CHECK (kind IN ('lifetime', 'day', 'week', 'month', '5h')),
    ADD CONSTRAINT windows_of_one CHECK (num_nonnulls(key_id, user_id, team_id) <= 1),
    ADD CONSTRAINT windows_user_of_account FOREIGN KEY (account_id, user_id) REFERENCES users (account_id, id),
    ADD CONSTRAINT windows_team_of_account FOREIGN KEY (account_id, team_id) REFERENCES teams (account_id, id);
COMMENT ON TABLE windows IS 'Spend caps: on a key, a user or a team, or on the whole account where none is named.';
COMMENT ON COLUMN windows.extra_nanos IS 'A temporary increase of the limit, until extra_until.';
CREATE INDEX windows_user ON windows (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX windows_team ON windows (team_id) WHERE team_id IS NOT NULL;
SELECT app_may('UPDATE (limit_nanos, extra_nanos, extra_until, removed_at)', 'windows');

CREATE TABLE rates (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    key_id bigint REFERENCES api_keys (id),
    user_id bigint,
    team_id bigint,
    model_pattern text CHECK (length(model_pattern) BETWEEN 1 AND 256),
    rpm bigint CHECK (rpm BETWEEN 1 AND 1000000000),
    tpm bigint CHECK (tpm BETWEEN 1 AND 1000000000000),
    parallel bigint CHECK (parallel BETWEEN 1 AND 1000000),
    created_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    CONSTRAINT rates_of_one CHECK (num_nonnulls(key_id, user_id, team_id) <= 1),
    CONSTRAINT rates_limit_something CHECK (num_nonnulls(rpm, tpm, parallel) >= 1),
    CONSTRAINT rates_user_of_account FOREIGN KEY (account_id, user_id) REFERENCES users (account_id, id),
    CONSTRAINT rates_team_of_account FOREIGN KEY (account_id, team_id) REFERENCES teams (account_id, id)
);
COMMENT ON TABLE rates IS
    'Requests and tokens per minute, calls in parallel: on a key, a user, a team, or the account where none is named.';
COMMENT ON COLUMN rates.model_pattern IS 'Only calls of models that match it (fnmatch), taken together; null: all.';
CREATE INDEX rates_account ON rates (account_id);
CREATE INDEX rates_key ON rates (key_id) WHERE key_id IS NOT NULL;
SELECT app_may('SELECT, INSERT, UPDATE (rpm, tpm, parallel, removed_at)', 'rates');

ALTER TABLE api_keys
    ADD COLUMN models_denied text[],
    ADD COLUMN scopes text[],
    ADD COLUMN ip_allowlist text[],
    ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    ADD COLUMN tags text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN api_keys.models_denied IS 'Patterns (fnmatch) of models that the key may not call, whatever `models` says.';
COMMENT ON COLUMN api_keys.scopes IS 'What the key may do; null: all that a caller may.';
COMMENT ON COLUMN api_keys.ip_allowlist IS 'Networks (CIDR) that the key may be used from; null: any.';

ALTER TYPE usage_event ADD ATTRIBUTE team_id bigint;
ALTER TABLE usage ADD COLUMN team_id bigint;
COMMENT ON COLUMN usage.team_id IS 'The team of its user when the call was admitted.';

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
                    'zone', w.zone, 'reset_time', w.reset_time,
                    'extra_nanos', w.extra_nanos, 'extra_until', w.extra_until
                ) ORDER BY w.id
            ),
            '[]'
        )
        FROM windows AS w
        WHERE w.account_id = k.account_id AND w.removed_at IS NULL AND CASE
            WHEN w.key_id IS NOT NULL THEN w.key_id = k.id
            WHEN w.user_id IS NOT NULL THEN w.user_id = k.user_id
            WHEN w.team_id IS NOT NULL THEN w.team_id = u.team_id
            ELSE true
        END
    ) AS windows,
    k.user_id,
    u.disabled_at IS NOT NULL AS user_disabled,
    u.team_id,
    (
        SELECT coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'rate_id', r.id, 'key_id', r.key_id, 'model_pattern', r.model_pattern,
                    'rpm', r.rpm, 'tpm', r.tpm, 'parallel', r.parallel
                ) ORDER BY r.id
            ),
            '[]'
        )
        FROM rates AS r
        WHERE r.account_id = k.account_id AND r.removed_at IS NULL AND CASE
            WHEN r.key_id IS NOT NULL THEN r.key_id = k.id
            WHEN r.user_id IS NOT NULL THEN r.user_id = k.user_id
            WHEN r.team_id IS NOT NULL THEN r.team_id = u.team_id
            ELSE true
        END
    ) AS rates,
    k.models_denied,
    k.scopes,
    k.ip_allowlist,
    k.metadata,
    k.tags
FROM key_secrets AS s
JOIN api_keys AS k ON k.id = s.key_id
JOIN accounts AS a ON a.id = k.account_id
LEFT JOIN users AS u ON u.id = k.user_id;
