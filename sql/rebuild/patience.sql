-- Let this transaction wait as long as it must between its statements.
-- Returns idle_in_transaction_session_timeout: one row.
SELECT set_config('idle_in_transaction_session_timeout', '0', true) AS idle_in_transaction_session_timeout
