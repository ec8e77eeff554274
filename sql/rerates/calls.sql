-- Calls between two ids whose cost is by one price version, by the last of their corrections if there are any. What
-- was released cost nothing by any price. Planned anew each time (session/plan_anew.sql).
-- $1 account_id bigint or null (any)   $2 after_id uuid   $3 last_id uuid   $4 price_version bigint   $5 currency text
-- Returns id, account_id, status, model, nanos (what it costs now), corrections (so many so far), and all that is
-- known of what was used: zero or more rows, in the order of their ids.
SELECT u.id, u.account_id, u.status, u.model, coalesce(c.new_nanos, u.charge_nanos) AS nanos,
    coalesce(c.number, 0) AS corrections, u.input_tokens, u.cached_input_tokens, u.cache_write_tokens,
    u.cache_write_1h_tokens, u.output_tokens, u.reasoning_tokens, u.audio_input_tokens, u.audio_output_tokens,
    u.service_tier, u.tools, u.per_model, u.images, u.image_kind, u.audio_ms, u.characters, u.image_input_tokens,
    u.image_output_tokens, u.included_nanos
FROM usage AS u
LEFT JOIN LATERAL (
    SELECT number, new_version, new_nanos FROM corrections WHERE usage_id = u.id ORDER BY number DESC LIMIT 1
) AS c ON true
WHERE ($1::bigint IS NULL OR u.account_id = $1) AND u.id > $2 AND u.id <= $3
    AND coalesce(c.new_version, u.price_version) = $4 AND u.currency = $5
    AND u.status <> 'released' AND (u.status <> 'expired' OR u.charge_nanos <> 0)
ORDER BY u.id
