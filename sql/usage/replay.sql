-- The next calls of an account, a team, a user or a key, in the order of their admission, with what they cost now and all
-- that is known of what was used. What was released cost nothing and is left out. Planned anew each time
-- (session/plan_anew.sql).
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint   $4 key_id bigint (null: any)
-- $5 after_id uuid   $6 below_id uuid   $7 currency text   $8 rows_max integer
-- Returns id, account_id, status, model, model_asked, nanos (charged, with corrections), included_nanos, corrections and
-- the counts: zero or more rows.
SELECT u.id, u.account_id, u.status, u.model, u.model_asked, coalesce(c.new_nanos, u.charge_nanos) AS nanos,
    coalesce(c.number, 0) AS corrections, u.input_tokens, u.cached_input_tokens, u.cache_write_tokens,
    u.cache_write_1h_tokens, u.output_tokens, u.reasoning_tokens, u.audio_input_tokens, u.audio_output_tokens,
    u.service_tier, u.tools, u.per_model, u.images, u.image_kind, u.audio_ms, u.characters, u.image_input_tokens,
    u.image_output_tokens, u.included_nanos
FROM usage AS u
LEFT JOIN LATERAL (
    SELECT number, new_nanos FROM corrections WHERE usage_id = u.id ORDER BY number DESC LIMIT 1
) AS c ON true
WHERE u.account_id = $1
    AND ($2::bigint IS NULL OR u.team_id = $2)
    AND ($3::bigint IS NULL OR u.user_id = $3)
    AND ($4::bigint IS NULL OR u.key_id = $4)
    AND u.id > $5 AND u.id < $6 AND u.currency = $7 AND u.status <> 'released'
ORDER BY u.id
LIMIT $8
