-- Put a package up for sale.
-- $1 credits bigint   $2 currency text   $3 price_minor bigint   $4 nanos_per_credit bigint   $5 position integer
-- Returns the columns of credit_packages: one row, or none when this number of credits is for sale already.
INSERT INTO credit_packages (credits, currency, price_minor, nanos_per_credit, position)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (currency, credits) WHERE active DO NOTHING
RETURNING *
