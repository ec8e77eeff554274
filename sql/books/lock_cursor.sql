-- Where the consumer of a partition stands; locked for the rest of the transaction, so that it stays there.
-- $1 epoch bigint   $2 partition integer
-- Returns stream_ms, stream_seq: one row, or none when the partition was never opened.
SELECT stream_ms, stream_seq FROM consumer_cursors WHERE epoch = $1 AND partition = $2 FOR NO KEY UPDATE
