-- Input that counted as more tokens than were held for it, per account and price version.
-- Returns account_id bigint, price_version bigint, tokens bigint (numeric sums fit): zero or more rows.
SELECT account_id, price_version, sum(input_tokens - held_input_tokens)::bigint AS tokens
FROM usage
WHERE held_input_tokens > 0 AND input_tokens > held_input_tokens AND price_version IS NOT NULL
GROUP BY account_id, price_version
