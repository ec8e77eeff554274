-- Note how far a run has come, in the transaction that corrects the calls up to there.
-- $1 id bigint   $2 last_id uuid   $3 left_out bigint[]   $4 refused text (JSON)   $5 finished boolean
UPDATE rerates
SET last_id = $2, left_out = $3, refused = $4::text::jsonb, finished_at = CASE WHEN $5::boolean THEN now() END
WHERE id = $1
