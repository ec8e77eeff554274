-- How many limits of a kind stand above one place at or below an entity, where there are most. A place is a key that is
-- not revoked, or where the next one could be made: at a user, a team or the account. An assignment of a plan that has
-- not ended counts as the window that it is, a coming one too.
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint   $4 key_id bigint (null but for the entity's)
-- $5 kind text (windows, rates)
-- Returns limits, team_id, user_id, key_id: one row; none for a key that is revoked.
WITH limits AS (
    SELECT w.team_id, w.user_id, w.key_id
    FROM windows AS w
    LEFT JOIN plan_assignments AS a ON a.id = w.assignment_id
    WHERE $5 = 'windows' AND w.account_id = $1 AND w.removed_at IS NULL AND w.counts = 'limit'
        AND (a.effective_to IS NULL OR a.effective_to > greatest(now(), a.effective_from))
    UNION ALL
    SELECT team_id, user_id, key_id FROM rates WHERE $5 = 'rates' AND account_id = $1 AND removed_at IS NULL
), own AS (
    SELECT team_id, user_id, key_id, count(*) AS limits
    FROM limits
    GROUP BY team_id, user_id, key_id
), places AS (
    SELECT u.team_id, k.user_id, k.id AS key_id
    FROM api_keys AS k LEFT JOIN users AS u ON u.id = k.user_id
    WHERE k.account_id = $1 AND k.revoked_at IS NULL
    UNION ALL
    SELECT team_id, id, NULL FROM users WHERE account_id = $1
    UNION ALL
    SELECT id, NULL, NULL FROM teams WHERE account_id = $1
    UNION ALL
    SELECT NULL, NULL, NULL
)
SELECT
    coalesce(of_key.limits, 0) + coalesce(of_user.limits, 0) + coalesce(of_team.limits, 0)
    + coalesce(of_account.limits, 0) AS limits,
    p.team_id,
    p.user_id,
    p.key_id
FROM places AS p
LEFT JOIN own AS of_key ON of_key.key_id = p.key_id
LEFT JOIN own AS of_user ON of_user.user_id = p.user_id
LEFT JOIN own AS of_team ON of_team.team_id = p.team_id
LEFT JOIN own AS of_account ON num_nonnulls(of_account.team_id, of_account.user_id, of_account.key_id) = 0
WHERE CASE
    WHEN $4::bigint IS NOT NULL THEN p.key_id = $4
    WHEN $3::bigint IS NOT NULL THEN p.user_id = $3
    WHEN $2::bigint IS NOT NULL THEN p.team_id = $2
    ELSE true
END
ORDER BY 1 DESC, p.key_id
LIMIT 1
