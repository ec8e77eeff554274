-- Take a rate out of force.
-- $1 id bigint
-- Returns the columns of rates: one row, or none when it was removed before.
UPDATE rates SET removed_at = now(), version = version + 1 WHERE id = $1 AND removed_at IS NULL RETURNING *
