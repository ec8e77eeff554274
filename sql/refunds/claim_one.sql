-- The same of a refund that was made just now.
-- $1 id uuid   $2 lease interval
-- Returns the columns of refunds: one row, or none when somebody else drives it.
UPDATE refunds SET attempts = attempts + 1, next_try_at = now() + $2::interval
WHERE id = $1 AND state IN ('requested', 'taken') AND next_try_at <= now()
RETURNING *
