-- Events of a span of time, by how they came and what became of them.
-- $1 from timestamptz   $2 to timestamptz
-- Returns provider, source, state, events, deliveries: zero or more rows.
SELECT provider, source, state, count(*) AS events, sum(deliveries)::bigint AS deliveries
FROM provider_events
WHERE received_at >= $1 AND received_at < $2
GROUP BY provider, source, state
ORDER BY provider, source, state
