-- Is anybody booking usage events?
-- Returns one row: partitions bigint, leased bigint, workers bigint.
SELECT
    count(*) AS partitions,
    count(*) FILTER (WHERE c.lease_until > now()) AS leased,
    count(DISTINCT c.lease_owner) FILTER (WHERE c.lease_until > now()) AS workers
FROM consumer_cursors AS c
WHERE c.epoch = (SELECT epoch FROM deployment)
