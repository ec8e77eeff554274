-- What a plan does with a call that its daily limit does not cover, and who pays: overflow policies, allowances, shadow.
-- Each assignment of such a plan has three windows to count in: the limit, and what grace and degraded calls may spend
-- beyond it. A call that a plan bears costs its wallet nothing; what it would have cost is kept beside its charge.

ALTER TABLE plan_daily_limits
    ADD COLUMN overflow text[] NOT NULL DEFAULT '{block}' CHECK (overflow <@ '{block,grace,degrade,spill}'),
    ADD COLUMN grace_nanos bigint NOT NULL DEFAULT 0 CHECK (grace_nanos BETWEEN 0 AND 9000000000000000000),
    ADD COLUMN grace_charged boolean NOT NULL DEFAULT false,
    ADD COLUMN degrade_map jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(degrade_map) = 'object'),
    ADD COLUMN degrade_default text,
    ADD COLUMN degrade_nanos bigint CHECK (degrade_nanos BETWEEN 0 AND 9000000000000000000),
    ADD COLUMN funding text NOT NULL DEFAULT 'wallet' CHECK (funding IN ('wallet', 'allowance')),
    ADD COLUMN shadow boolean NOT NULL DEFAULT false,
    ADD COLUMN shadow_until timestamptz,
    ADD CONSTRAINT plan_daily_limits_overflow_some CHECK (cardinality(overflow) >= 1);
COMMENT ON COLUMN plan_daily_limits.overflow IS 'What is tried, in this order, with a call that the limit does not cover.';
COMMENT ON COLUMN plan_daily_limits.degrade_nanos IS
    'What degraded calls may spend a day beyond the limit; null: as much as the limit where the plan pays, else no cap.';
COMMENT ON COLUMN plan_daily_limits.shadow_until IS
    'The end of the day during which shadow was taken off: until then what was counted does not bind.';

ALTER TABLE windows
    ADD COLUMN counts text NOT NULL DEFAULT 'limit' CHECK (counts IN ('limit', 'grace', 'degrade')),
    DROP CONSTRAINT windows_assignment_id_key,
    ADD CONSTRAINT windows_of_assignment UNIQUE (assignment_id, counts),
    ADD CONSTRAINT windows_counts_of_plan CHECK (counts = 'limit' OR assignment_id IS NOT NULL);
COMMENT ON COLUMN windows.counts IS 'Of a plan: what goes by its limit, or what its grace or degraded calls spend beyond it.';
INSERT INTO windows (account_id, team_id, user_id, key_id, kind, assignment_id, counts)
SELECT account_id, team_id, user_id, key_id, kind, assignment_id, beyond.counts
FROM windows, (VALUES ('grace'), ('degrade')) AS beyond (counts)
WHERE assignment_id IS NOT NULL;

ALTER TYPE usage_event ADD ATTRIBUTE included_nanos bigint;
ALTER TYPE usage_event ADD ATTRIBUTE overflow text;
ALTER TYPE usage_event ADD ATTRIBUTE model_asked text;
ALTER TABLE usage
    ADD COLUMN included_nanos bigint NOT NULL DEFAULT 0,
    ADD COLUMN overflow text,
    ADD COLUMN model_asked text;
COMMENT ON COLUMN usage.included_nanos IS 'What of its cost a plan bore; it is not in charge_nanos.';
COMMENT ON COLUMN usage.overflow IS 'By which policy of a plan it went beyond a daily limit; null: it did not.';
COMMENT ON COLUMN usage.model_asked IS 'The model that the caller asked for, where a plan had another one serve.';
COMMENT ON COLUMN usage.windows IS
    '"id:span,...": each moved by the charge; "id:span=nanos,...": by its own amount. Behind ";" (";;": booked apart) what a late end moved.';

-- Nearest first: the plan of the key, of its user, of the team, of the account.
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
        WHERE w.account_id = k.account_id AND w.removed_at IS NULL AND w.assignment_id IS NULL AND CASE
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
    k.tags,
    (
        SELECT coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'plan_id', p.plan_id, 'zone', p.zone,
                    'window_id', (SELECT id FROM windows WHERE assignment_id = p.id AND counts = 'limit'),
                    'grace_window_id', (SELECT id FROM windows WHERE assignment_id = p.id AND counts = 'grace'),
                    'degrade_window_id', (SELECT id FROM windows WHERE assignment_id = p.id AND counts = 'degrade'),
                    'from_ms', (extract(epoch FROM p.effective_from) * 1000)::bigint,
                    'to_ms', (extract(epoch FROM p.effective_to) * 1000)::bigint
                ) ORDER BY p.key_id IS NULL, p.user_id IS NULL, p.team_id IS NULL, p.id
            ),
            '[]'
        )
        FROM plan_assignments AS p
        WHERE p.account_id = k.account_id AND (p.effective_to IS NULL OR p.effective_to > now()) AND CASE
            WHEN p.key_id IS NOT NULL THEN p.key_id = k.id
            WHEN p.user_id IS NOT NULL THEN p.user_id = k.user_id
            WHEN p.team_id IS NOT NULL THEN p.team_id = u.team_id
            ELSE true
        END
    ) AS plans
FROM key_secrets AS s
JOIN api_keys AS k ON k.id = s.key_id
JOIN accounts AS a ON a.id = k.account_id
LEFT JOIN users AS u ON u.id = k.user_id;
