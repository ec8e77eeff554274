-- Book calls that ended: each id once; a row of an expired hold is replaced by its true end, also once.
-- Rows that were booked before are left alone and not returned: a redelivery moves nothing.
-- $1 epoch bigint   $2 calls usage_event[] (times in ms since 1970; tools and per_model are JSON)
-- Returns account_id, currency, moved_nanos, windows: a row per call that this statement booked.
INSERT INTO usage (
    epoch, id, account_id, currency, status, late, charge_nanos, moved_nanos, expired_nanos, expired_position,
    ledger_transaction_id, partition, position, windows, key_id, caller_request_id, model, dialect, price_version,
    usage_source, input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens,
    reasoning_tokens, audio_input_tokens, audio_output_tokens, attempts, admitted_at, first_byte_at, finished_at,
    upstream_model, service_tier, error_code, tools, per_model, streamed, shortfall_nanos, held_input_tokens,
    user_id, excess_nanos, team_id, included_nanos, overflow, model_asked,
    images, image_kind, audio_ms, characters, image_input_tokens, image_output_tokens,
    upstream_cost_nanos
)
SELECT
    $1::bigint, e.id, e.account_id, e.currency, e.status, e.late, e.charge_nanos, e.charge_nanos, e.expired_nanos,
    e.expired_position, e.ledger_transaction_id, e.partition, e.position, e.windows, e.key_id, e.caller_request_id,
    e.model, e.dialect, e.price_version, e.usage_source, e.input_tokens, e.cached_input_tokens,
    e.cache_write_tokens, e.cache_write_1h_tokens, e.output_tokens, e.reasoning_tokens, e.audio_input_tokens,
    e.audio_output_tokens, e.attempts,
    timestamptz 'epoch' + e.admitted_ms * interval '1 ms',
    timestamptz 'epoch' + e.first_byte_ms * interval '1 ms',
    timestamptz 'epoch' + e.finished_ms * interval '1 ms',
    e.upstream_model, e.service_tier, e.error_code, e.tools::jsonb, e.per_model::jsonb, e.streamed,
    e.shortfall_nanos, e.held_input_tokens, e.user_id, e.excess_nanos, e.team_id,
    e.included_nanos, e.overflow, e.model_asked,
    e.images, e.image_kind, e.audio_ms,
    e.characters, e.image_input_tokens, e.image_output_tokens, e.upstream_cost_nanos
FROM unnest($2::usage_event[]) AS e
ON CONFLICT (id) DO UPDATE SET
    -- expired_nanos and expired_position stay: they say what expiry booked, and where.
    status = EXCLUDED.status,
    late = true,
    charge_nanos = EXCLUDED.charge_nanos,
    moved_nanos = EXCLUDED.charge_nanos - usage.charge_nanos,
    ledger_transaction_id = CASE
        WHEN EXCLUDED.charge_nanos <> usage.charge_nanos THEN EXCLUDED.ledger_transaction_id
        ELSE usage.ledger_transaction_id
    END,
    position = EXCLUDED.position,
    windows = CASE
        WHEN EXCLUDED.windows LIKE '%=%' THEN usage.windows || ';;' || EXCLUDED.windows
        ELSE usage.windows
    END,
    -- a late event carries the difference; what did not come by a stream, the whole
    included_nanos = CASE WHEN EXCLUDED.position IS NULL THEN 0 ELSE usage.included_nanos END + EXCLUDED.included_nanos,
    overflow = EXCLUDED.overflow,
    model_asked = EXCLUDED.model_asked,
    price_version = EXCLUDED.price_version,
    usage_source = EXCLUDED.usage_source,
    input_tokens = EXCLUDED.input_tokens,
    cached_input_tokens = EXCLUDED.cached_input_tokens,
    cache_write_tokens = EXCLUDED.cache_write_tokens,
    cache_write_1h_tokens = EXCLUDED.cache_write_1h_tokens,
    output_tokens = EXCLUDED.output_tokens,
    reasoning_tokens = EXCLUDED.reasoning_tokens,
    audio_input_tokens = EXCLUDED.audio_input_tokens,
    audio_output_tokens = EXCLUDED.audio_output_tokens,
    attempts = EXCLUDED.attempts,
    first_byte_at = EXCLUDED.first_byte_at,
    finished_at = EXCLUDED.finished_at,
    booked_at = now(),
    upstream_model = EXCLUDED.upstream_model,
    service_tier = EXCLUDED.service_tier,
    error_code = EXCLUDED.error_code,
    tools = EXCLUDED.tools,
    per_model = EXCLUDED.per_model,
    shortfall_nanos = EXCLUDED.shortfall_nanos,
    excess_nanos = EXCLUDED.excess_nanos,
    images = EXCLUDED.images,
    image_kind = EXCLUDED.image_kind,
    audio_ms = EXCLUDED.audio_ms,
    characters = EXCLUDED.characters,
    image_input_tokens = EXCLUDED.image_input_tokens,
    image_output_tokens = EXCLUDED.image_output_tokens,
    upstream_cost_nanos = EXCLUDED.upstream_cost_nanos
WHERE usage.status = 'expired' AND EXCLUDED.status <> 'expired'
RETURNING usage.account_id, usage.currency, usage.moved_nanos, usage.windows
