-- The deployment's constants.
-- Returns one row: partitions integer, epoch bigint.
SELECT partitions, epoch FROM deployment
