-- What spans of windows have used.
-- $1 window_id bigint[]   $2 span text[]
-- Returns window_id, span, used_nanos: one row per span that has been used.
SELECT s.window_id, s.span, s.used_nanos
FROM unnest($1::bigint[], $2::text[]) AS a (window_id, span)
JOIN window_spans AS s ON s.window_id = a.window_id AND s.span = a.span
