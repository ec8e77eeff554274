-- Change the limit of a window that was not removed, or raise it for a time.
-- $1 id bigint   $2 limit_nanos bigint or null (unchanged)   $3 change_extra boolean   $4 extra_nanos bigint
-- $5 extra_until timestamptz or null
-- Returns the columns of windows: one row, or none when it was removed.
UPDATE windows
SET
    version = version + 1,
    limit_nanos = coalesce($2, limit_nanos),
    extra_nanos = CASE WHEN $3 THEN $4 ELSE extra_nanos END,
    extra_until = CASE WHEN $3 THEN $5 ELSE extra_until END
WHERE id = $1 AND removed_at IS NULL
RETURNING *
