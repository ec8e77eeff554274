-- Keep events that could not be read whole. One that is there already stays as it is.
-- $1 epoch bigint   $2 partition integer[]   $3 stream_ms bigint[]   $4 stream_seq bigint[]   $5 reason text[]
-- $6 charged boolean[]   $7 fields text[] (JSON)
INSERT INTO dead_events (epoch, partition, stream_ms, stream_seq, reason, charged, fields)
SELECT $1::bigint, d.partition, d.stream_ms, d.stream_seq, d.reason, d.charged, d.fields::jsonb
FROM unnest($2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::boolean[], $7::text[])
    AS d (partition, stream_ms, stream_seq, reason, charged, fields)
ON CONFLICT DO NOTHING
