-- How often an account has used a code, reservations included.
-- $1 code_id bigint   $2 account_id bigint
-- Returns uses: one row.
SELECT count(*) AS uses FROM credit_code_uses WHERE code_id = $1 AND account_id = $2 AND state <> 'released'
