-- Which models may be called below an account, a team or a user, as data; and rates that can be changed.

CREATE TABLE model_rules (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    team_id bigint,
    user_id bigint,
    allow text[] CHECK (cardinality(allow) BETWEEN 1 AND 100),
    deny text[] CHECK (cardinality(deny) BETWEEN 1 AND 100),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    CONSTRAINT model_rules_of_one CHECK (num_nonnulls(team_id, user_id) <= 1),
    CONSTRAINT model_rules_say_something CHECK (num_nonnulls(allow, deny) >= 1),
    CONSTRAINT model_rules_team_of_account FOREIGN KEY (account_id, team_id) REFERENCES teams (account_id, id),
    CONSTRAINT model_rules_user_of_account FOREIGN KEY (account_id, user_id) REFERENCES users (account_id, id)
);
COMMENT ON TABLE model_rules IS
    'Patterns (fnmatch) of models that calls below a team, a user, or the account where neither is named, may ask for.';
COMMENT ON COLUMN model_rules.version IS 'Raised by every change; its ETag.';
CREATE UNIQUE INDEX model_rules_one_in_force ON model_rules (account_id, coalesce(team_id, 0), coalesce(user_id, 0))
    WHERE removed_at IS NULL;
SELECT app_may('SELECT, INSERT, UPDATE (allow, deny, version, removed_at)', 'model_rules');

CREATE FUNCTION model_rules_above(of_account bigint, of_team bigint, of_user bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(
        jsonb_agg(
            jsonb_build_object(
                'entity_type', CASE
                    WHEN user_id IS NOT NULL THEN 'user' WHEN team_id IS NOT NULL THEN 'team' ELSE 'account'
                END,
                'entity_id', coalesce(user_id, team_id, account_id), 'allow', allow, 'deny', deny
            ) ORDER BY user_id, team_id
        ),
        '[]'
    )
    FROM model_rules
    WHERE account_id = of_account AND removed_at IS NULL AND CASE
        WHEN user_id IS NOT NULL THEN user_id = of_user
        WHEN team_id IS NOT NULL THEN team_id = of_team
        ELSE true
    END);
END
$$;
COMMENT ON FUNCTION model_rules_above(bigint, bigint, bigint) IS
    'The rules that bind a key of this account, team and user, beside its own, nearest first: at most three.';

ALTER TABLE rates ADD COLUMN version bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN rates.version IS 'Raised by every change; its ETag.';
SELECT app_may('UPDATE (version)', 'rates');
