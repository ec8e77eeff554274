-- Spans of windows whose use is not the sum of the usage rows that name them.
-- $1 rows_max integer
-- Returns name ("window:span"), used_nanos, charged_nanos: zero or more rows.
SELECT coalesce(s.name, u.name) AS name, coalesce(s.used_nanos, 0) AS used_nanos,
    coalesce(u.nanos, 0) AS charged_nanos
FROM (SELECT window_id || ':' || span AS name, used_nanos FROM window_spans) AS s
FULL JOIN (
    -- A call booked without a stream counts in no window beyond what its expiry did.
    SELECT split_part(n.name, '=', 1) AS name, sum(CASE
        WHEN n.name LIKE '%=%' THEN split_part(n.name, '=', 2)::bigint
        WHEN position IS NULL THEN expired_nanos
        ELSE charge_nanos
    END) AS nanos
    FROM usage, unnest(string_to_array(translate(windows, ';', ','), ',')) AS n (name)
    WHERE n.name <> ''
    GROUP BY split_part(n.name, '=', 1)
) AS u ON u.name = s.name
WHERE coalesce(s.used_nanos, 0) <> coalesce(u.nanos, 0)
ORDER BY 1
LIMIT $1
