-- Take the migration lock of this database for this session, without waiting: a waiting statement would hold a
-- snapshot, and CREATE INDEX CONCURRENTLY in the session that has the lock waits for all older snapshots.
-- $1 lock bigint
-- Returns one row: locked boolean.
SELECT pg_try_advisory_lock($1) AS locked
