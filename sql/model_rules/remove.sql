-- Take a rule out of force.
-- $1 id bigint
-- Returns the columns of model_rules: one row, or none when it was removed before.
UPDATE model_rules SET removed_at = now(), version = version + 1 WHERE id = $1 AND removed_at IS NULL RETURNING *
