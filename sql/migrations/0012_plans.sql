-- Plans: what a caller is entitled to, as data. A plan has at most one daily limit, any number of price rules, and is
-- assigned to accounts, teams, users and keys. Gateways follow plans by `revision`, so that a change of one plan is one
-- row, however many keys are on it; an assignment changes what stands above keys, and so raises their generations.

CREATE SEQUENCE plan_revisions;

CREATE TABLE plans (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    type text NOT NULL CHECK (type IN ('daily_limit', 'usage')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    revision bigint NOT NULL DEFAULT 0,
    archived_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN plans.revision IS 'Raised by every change of the plan or of a part of it; its ETag.';
CREATE UNIQUE INDEX plans_revision ON plans (revision);

CREATE TABLE plan_daily_limits (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id bigint NOT NULL UNIQUE REFERENCES plans (id),
    limit_nanos bigint NOT NULL CHECK (limit_nanos BETWEEN 0 AND 9000000000000000000),
    zone text NOT NULL,
    reset_time text NOT NULL CHECK (reset_time ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'),
    before_zone text,
    before_reset_time text,
    before_until timestamptz,
    CONSTRAINT plan_daily_limits_before
        CHECK (num_nonnulls(before_zone, before_reset_time, before_until) IN (0, 3))
);
COMMENT ON COLUMN plan_daily_limits.before_until IS
    'The end of the day during which zone or reset time was changed: until then the former ones hold.';

-- Whoever follows "what came after the last revision seen" must not miss one that committed late with a lower number:
-- writers take turns.
CREATE FUNCTION plans_next_revision() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('rabbitgw.plans'));
    NEW.revision := nextval('plan_revisions');
    RETURN NEW;
END
$$;
CREATE TRIGGER plans_next_revision BEFORE INSERT OR UPDATE ON plans
    FOR EACH ROW EXECUTE FUNCTION plans_next_revision();

CREATE TABLE plan_assignments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id bigint NOT NULL REFERENCES plans (id),
    account_id bigint NOT NULL REFERENCES accounts (id),
    team_id bigint,
    user_id bigint,
    key_id bigint REFERENCES api_keys (id),
    zone text,
    effective_from timestamptz NOT NULL,
    effective_to timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT plan_assignments_of_one CHECK (num_nonnulls(team_id, user_id, key_id) <= 1),
    CONSTRAINT plan_assignments_span CHECK (effective_to IS NULL OR effective_to >= effective_from),
    CONSTRAINT plan_assignments_team FOREIGN KEY (account_id, team_id) REFERENCES teams (account_id, id),
    CONSTRAINT plan_assignments_user FOREIGN KEY (account_id, user_id) REFERENCES users (account_id, id)
);
COMMENT ON TABLE plan_assignments IS
    'Who is on a plan, and when: a key, a user, a team, or the account where none is named. Ending one sets effective_to.';
COMMENT ON COLUMN plan_assignments.zone IS 'Instead of the plan''s own zone; null: the plan''s.';
CREATE INDEX plan_assignments_account ON plan_assignments (account_id);
CREATE INDEX plan_assignments_plan ON plan_assignments (plan_id);

-- The window that an assignment of a plan with a daily limit counts in. Its limit, zone and reset time are the plan's.
ALTER TABLE windows
    ADD COLUMN assignment_id bigint UNIQUE REFERENCES plan_assignments (id),
    ALTER COLUMN limit_nanos DROP NOT NULL,
    ADD CONSTRAINT windows_limit_or_plan CHECK ((limit_nanos IS NULL) = (assignment_id IS NOT NULL));
COMMENT ON COLUMN windows.assignment_id IS 'Of a plan''s daily limit, which has limit, zone and reset time.';

ALTER TABLE prices ADD COLUMN plan_id bigint REFERENCES plans (id);
COMMENT ON COLUMN prices.plan_id IS 'Only for calls on this plan; null: the list price.';
CREATE INDEX prices_plan ON prices (plan_id, pattern, effective_from DESC, id DESC) WHERE plan_id IS NOT NULL;

SELECT app_may('SELECT, INSERT, UPDATE (name, revision, archived_at)', 'plans');
SELECT app_may('SELECT, INSERT, UPDATE', 'plan_daily_limits');
SELECT app_may('SELECT, INSERT, UPDATE (effective_to)', 'plan_assignments');
SELECT app_may('USAGE', 'SEQUENCE plan_revisions');

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
                    'plan_id', p.plan_id, 'window_id', w.id, 'zone', p.zone,
                    'from_ms', (extract(epoch FROM p.effective_from) * 1000)::bigint,
                    'to_ms', (extract(epoch FROM p.effective_to) * 1000)::bigint
                ) ORDER BY p.key_id IS NULL, p.user_id IS NULL, p.team_id IS NULL, p.id
            ),
            '[]'
        )
        FROM plan_assignments AS p
        LEFT JOIN windows AS w ON w.assignment_id = p.id
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
