-- Move cursors on, in the transaction of what they book, and renew their leases. A cursor that another consumer
-- has taken, or that does not stand where this one left it, is not moved: fewer rows come back, book nothing then.
-- $1 lease_owner text   $2 lease interval   $3 epoch bigint   $4 partition integer[]
-- $5 from stream_ms bigint[]   $6 from stream_seq bigint[]   $7 to stream_ms bigint[]   $8 to stream_seq bigint[]
-- $9 events bigint[]
-- Returns partition: one row per cursor moved.
UPDATE consumer_cursors AS c
SET stream_ms = m.to_ms, stream_seq = m.to_seq, events = c.events + m.events,
    lease_until = now() + $2::interval, advanced_at = now()
FROM unnest($4::integer[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
    AS m (partition, from_ms, from_seq, to_ms, to_seq, events)
WHERE c.epoch = $3 AND c.partition = m.partition AND c.lease_owner = $1
    AND c.stream_ms = m.from_ms AND c.stream_seq = m.from_seq
RETURNING c.partition
