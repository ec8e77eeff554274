-- Take the deployment for a rebuild; whoever else wants it meanwhile fails at once.
-- Returns one row: partitions integer, epoch bigint.
SELECT partitions, epoch FROM deployment FOR UPDATE NOWAIT
