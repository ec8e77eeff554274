-- Make a plan.
-- $1 name text   $2 type text   $3 currency text
-- Returns id: one row.
INSERT INTO plans (name, type, currency) VALUES ($1, $2, $3) RETURNING id
