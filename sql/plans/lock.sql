-- Lock a plan for a change of it or of a part of it.
-- $1 id bigint
-- Returns revision, type, currency, archived_at: one row or none.
SELECT revision, type, currency, archived_at FROM plans WHERE id = $1 FOR UPDATE
