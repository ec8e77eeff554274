-- Up to where a partition is booked.
-- $1 epoch bigint   $2 partition integer
-- Returns stream_ms, stream_seq: one row, or none where nothing was ever booked.
SELECT stream_ms, stream_seq FROM consumer_cursors WHERE epoch = $1 AND partition = $2
