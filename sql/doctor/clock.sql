-- The server's clock.
-- Returns one row: now_ms bigint, milliseconds since the epoch.
SELECT (extract(EPOCH FROM clock_timestamp()) * 1000)::bigint AS now_ms
