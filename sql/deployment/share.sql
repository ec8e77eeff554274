-- Keep the epoch as it is for the rest of the transaction; fails at once while a rebuild is under way.
-- Returns one row: partitions integer, epoch bigint.
SELECT partitions, epoch FROM deployment FOR SHARE NOWAIT
