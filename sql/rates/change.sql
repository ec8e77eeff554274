-- Change limits of a rate that was not removed.
-- $1 id bigint   $2 names of the limits to change text[] (the value of any other means nothing)
-- $3 rpm bigint   $4 tpm bigint   $5 parallel bigint (null: no such limit)
-- Returns the columns of rates: one row, or none when it was removed.
UPDATE rates
SET
    version = version + 1,
    rpm = CASE WHEN 'rpm' = ANY ($2::text[]) THEN $3 ELSE rpm END,
    tpm = CASE WHEN 'tpm' = ANY ($2) THEN $4 ELSE tpm END,
    parallel = CASE WHEN 'parallel' = ANY ($2) THEN $5 ELSE parallel END
WHERE id = $1 AND removed_at IS NULL
RETURNING *
