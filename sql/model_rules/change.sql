-- Let a rule say something else.
-- $1 id bigint   $2 allow text[] or null   $3 deny text[] or null
-- Returns the columns of model_rules: one row.
UPDATE model_rules SET allow = $2, deny = $3, version = version + 1 WHERE id = $1 RETURNING *
