-- Change what is said of a user. A field that is not to be changed comes with its flag false.
-- $1 id bigint   $2 name text or null (unchanged)   $3 change_email boolean   $4 email text or null
-- $5 change_external_id boolean   $6 external_id text or null   $7 change_team boolean   $8 team_id bigint or null
-- Returns the columns of users: one row or none.
UPDATE users
SET
    name = coalesce($2, name),
    email = CASE WHEN $3 THEN $4 ELSE email END,
    external_id = CASE WHEN $5 THEN $6 ELSE external_id END,
    team_id = CASE WHEN $7 THEN $8 ELSE team_id END
WHERE id = $1
RETURNING *
