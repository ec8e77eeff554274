-- Lease the partitions of the present epoch that are ours, or nobody's, for a consumer.
-- $1 lease_owner text   $2 lease interval   $3 partitions_max integer
-- Returns epoch, partition, stream_ms, stream_seq: the partitions that are ours now, zero or more rows.
UPDATE consumer_cursors AS c
SET lease_owner = $1, lease_until = now() + $2::interval
FROM (
    SELECT f.epoch, f.partition
    FROM consumer_cursors AS f
    WHERE f.epoch = (SELECT epoch FROM deployment)
        AND (f.lease_owner = $1 OR f.lease_owner IS NULL OR f.lease_until < now())
    ORDER BY f.lease_owner IS DISTINCT FROM $1, f.partition
    LIMIT $3
    FOR UPDATE SKIP LOCKED
) AS free
WHERE c.epoch = free.epoch AND c.partition = free.partition
RETURNING c.epoch, c.partition, c.stream_ms, c.stream_seq
