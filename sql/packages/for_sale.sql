-- The packages that are for sale in a currency, in their order.
-- $1 currency text   $2 rows_max integer
-- Returns the columns of credit_packages: zero or more rows.
SELECT * FROM credit_packages WHERE currency = $1 AND active ORDER BY position, credits LIMIT $2
