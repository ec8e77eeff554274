-- Events that could not be charged.
-- $1 rows_max integer
-- Returns partition, stream_ms, stream_seq, reason: zero or more rows.
SELECT partition, stream_ms, stream_seq, reason
FROM dead_events
WHERE NOT charged
ORDER BY created_at
LIMIT $1
