-- Does the server take writes, and keep what it has acknowledged?
-- Returns one row: standby boolean, read_only boolean, fsync text, full_page_writes text, synchronous_commit text.
SELECT
    pg_is_in_recovery() AS standby,
    current_setting('transaction_read_only')::boolean AS read_only,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit
