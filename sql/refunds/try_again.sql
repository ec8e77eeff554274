-- Let go of a refund, to be driven on later.
-- $1 id uuid   $2 pause interval
UPDATE refunds SET next_try_at = now() + $2::interval WHERE id = $1 AND state IN ('requested', 'taken')
