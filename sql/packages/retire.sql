-- Take a package out of sale.
-- $1 id bigint
-- Returns the columns of credit_packages: one row, or none when it was retired before.
UPDATE credit_packages
SET active = false, version = version + 1, changed_at = now()
WHERE id = $1 AND active
RETURNING *
