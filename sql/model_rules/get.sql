-- One rule, removed or not.
-- $1 id bigint
-- Returns the columns of model_rules: one row or none.
SELECT * FROM model_rules WHERE id = $1
