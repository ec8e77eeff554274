-- Packages by id, retired ones too.
-- $1 currency text or null (any)   $2 after_id bigint   $3 rows_max integer
-- Returns the columns of credit_packages: zero or more rows.
SELECT * FROM credit_packages WHERE id > $2 AND ($1::text IS NULL OR currency = $1) ORDER BY id LIMIT $3
