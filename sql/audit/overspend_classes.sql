-- By which classes of calls a wallet may have gone below zero, per price version.
-- Returns price_version bigint, streamed boolean, hidden boolean (streams whose reasoning was not shown),
-- shortfall_nanos bigint (the most that one last-money call was held short of its bound): zero or more rows.
SELECT price_version, bool_or(streamed) AS streamed, bool_or(streamed AND reasoning_tokens > 0) AS hidden,
    max(shortfall_nanos) AS shortfall_nanos
FROM usage
WHERE charge_nanos > 0 AND price_version IS NOT NULL
GROUP BY price_version
