-- Bill lines, newest first: the next of those that come before an id. Planned anew each time (session/plan_anew.sql):
-- a condition whose value is null is then no part of the plan, and what is left is a walk down one index.
-- $1 account_id bigint or null (any)   $2 below_id uuid   $3 least_id uuid
-- $4 key_id bigint or null   $5 user_id bigint or null   $6 caller_request_id text or null
-- $7 model text or null   $8 model_like text or null   $9 status text or null   $10 dialect text or null
-- $11 rows_max integer
-- Returns the columns of a bill line, corrected_nanos null where there is no correction: zero or more rows.
SELECT
    id, account_id, key_id, user_id, caller_request_id, model, dialect, status, usage_source, input_tokens,
    cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, currency, charge_nanos, price_version, attempts, admitted_at,
    first_byte_at, finished_at, upstream_model, service_tier, error_code, tools, per_model, included_nanos, overflow,
    model_asked,
    images, image_kind, audio_ms, characters, image_input_tokens, image_output_tokens,
    (
        SELECT new_nanos FROM corrections AS c WHERE c.usage_id = usage.id ORDER BY number DESC LIMIT 1
    ) AS corrected_nanos
FROM usage
WHERE ($1::bigint IS NULL OR account_id = $1)
    AND id < $2 AND id >= $3
    AND ($4::bigint IS NULL OR key_id = $4)
    AND ($5::bigint IS NULL OR user_id = $5)
    AND ($6::text IS NULL OR caller_request_id = $6)
    AND ($7::text IS NULL OR model = $7)
    AND ($8::text IS NULL OR model LIKE $8)
    AND ($9::text IS NULL OR status = $9)
    AND ($10::text IS NULL OR dialect = $10)
ORDER BY id DESC
LIMIT $11
