-- Those of some holds that have a usage row from no later than a stream position.
-- $1 id uuid[]   $2 position bigint
-- Returns id, account_id, status: zero or more rows.
SELECT id, account_id, status FROM usage WHERE id = ANY($1::uuid[]) AND (position IS NULL OR position <= $2)
