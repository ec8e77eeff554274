-- Begin another epoch.
-- $1 epoch bigint
UPDATE deployment SET epoch = $1
