-- Whose a key, a user, a team or an account is.
-- $1 account_id bigint or null   $2 key_id bigint or null   $3 user_id bigint or null   $4 team_id bigint or null
-- Returns field, account_id, currency, user_id, team_id: a row per id that is given and exists. The user and team are
-- those that the one named is in now.
SELECT o.field, o.account_id, a.currency, o.user_id, o.team_id
FROM (
    SELECT 'account_id' AS field, $1::bigint AS account_id, NULL::bigint AS user_id, NULL::bigint AS team_id
    UNION ALL
    SELECT 'key_id', k.account_id, k.user_id, u.team_id
    FROM api_keys AS k
    LEFT JOIN users AS u ON u.id = k.user_id
    WHERE k.id = $2
    UNION ALL
    SELECT 'user_id', account_id, id, team_id FROM users WHERE id = $3
    UNION ALL
    SELECT 'team_id', account_id, NULL, id FROM teams WHERE id = $4
) AS o
JOIN accounts AS a ON a.id = o.account_id
