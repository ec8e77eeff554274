-- What became of an event.
-- $1 id bigint   $2 state text   $3 outcome text or null
UPDATE provider_events SET state = $2, outcome = $3, ended_at = now() WHERE id = $1 AND state = 'stored'
