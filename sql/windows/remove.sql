-- Take a window out of force; what it has counted stays in the books.
-- $1 id bigint
-- Returns the columns of windows: one row, or none when it was removed before.
UPDATE windows SET version = version + 1, removed_at = now() WHERE id = $1 AND removed_at IS NULL RETURNING *
