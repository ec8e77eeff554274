-- The package of a number of credits that is for sale.
-- $1 credits bigint   $2 currency text
-- Returns the columns of credit_packages: one row or none.
SELECT * FROM credit_packages WHERE credits = $1 AND currency = $2 AND active
