-- Up to where the partitions of an epoch are booked.
-- $1 epoch bigint
-- Returns partition, stream_ms, stream_seq: one row per partition that was ever opened.
SELECT partition, stream_ms, stream_seq FROM consumer_cursors WHERE epoch = $1
