-- Give a plan its next revision (a trigger does): a part of it was changed.
-- $1 id bigint   $2 name text or null (unchanged)   $3 archive boolean
UPDATE plans
SET name = coalesce($2, name), archived_at = CASE WHEN $3 THEN coalesce(archived_at, now()) ELSE archived_at END
WHERE id = $1
