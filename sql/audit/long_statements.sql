-- Let the statements of this transaction run longer than the others': the audit reads whole tables.
-- $1 limit text, as statement_timeout takes it
-- Returns statement_timeout: one row.
SELECT set_config('statement_timeout', $1, true) AS statement_timeout
