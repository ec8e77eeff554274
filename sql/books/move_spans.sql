-- Add signed amounts to what windows have used.
-- $1 window_id bigint[]   $2 span text[]   $3 amount_nanos bigint[]
INSERT INTO window_spans (window_id, span, used_nanos)
SELECT m.window_id, m.span, m.amount_nanos
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS m (window_id, span, amount_nanos)
ORDER BY m.window_id, m.span
ON CONFLICT (window_id, span) DO UPDATE SET used_nanos = window_spans.used_nanos + EXCLUDED.used_nanos
