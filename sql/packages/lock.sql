-- Lock a package for the rest of the transaction.
-- $1 id bigint
-- Returns the columns of credit_packages: one row or none.
SELECT * FROM credit_packages WHERE id = $1 FOR NO KEY UPDATE
