-- Let go of an event, to be taken later.
-- $1 id bigint   $2 pause interval   $3 outcome text
UPDATE provider_events SET next_try_at = now() + $2::interval, outcome = $3 WHERE id = $1 AND state = 'stored'
