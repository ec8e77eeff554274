-- Make the cursors of the present epoch that do not exist yet, one per partition.
INSERT INTO consumer_cursors (epoch, partition)
SELECT d.epoch, p.partition
FROM deployment AS d, generate_series(0, d.partitions - 1) AS p (partition)
WHERE NOT EXISTS (
    SELECT FROM consumer_cursors AS c WHERE c.epoch = d.epoch AND c.partition = p.partition
)
ON CONFLICT DO NOTHING
