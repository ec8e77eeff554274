-- Change a package that lock.sql has locked.
-- $1 id bigint   $2 price_minor bigint   $3 nanos_per_credit bigint   $4 position integer
-- Returns the columns of credit_packages: one row.
UPDATE credit_packages
SET price_minor = $2, nanos_per_credit = $3, position = $4, version = version + 1, changed_at = now()
WHERE id = $1
RETURNING *
