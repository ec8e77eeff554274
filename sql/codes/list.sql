-- Codes by id, retired ones too.
-- $1 after_id bigint   $2 rows_max integer
-- Returns the columns of credit_codes: zero or more rows.
SELECT * FROM credit_codes WHERE id > $1 ORDER BY id LIMIT $2
