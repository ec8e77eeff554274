-- The account that a team, user or key belongs to; of an account, itself.
-- $1 entity_type text (account, team, user, key)   $2 entity_id bigint
-- Returns account_id: one row or none.
SELECT id AS account_id FROM accounts WHERE $1 = 'account' AND id = $2
UNION ALL
SELECT account_id FROM teams WHERE $1 = 'team' AND id = $2
UNION ALL
SELECT account_id FROM users WHERE $1 = 'user' AND id = $2
UNION ALL
SELECT account_id FROM api_keys WHERE $1 = 'key' AND id = $2
