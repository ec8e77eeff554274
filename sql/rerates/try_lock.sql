-- Take the lock of re-rating for this session, without waiting: one run at a time.
-- Returns one row: locked boolean.
SELECT pg_try_advisory_lock(hashtext('rabbitgw.rerate')) AS locked
