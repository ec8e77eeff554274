-- Of what is set aside: which takes somebody still means to take, or has taken.
-- $1 take_id uuid[]
-- Returns id: zero or more rows.
SELECT id FROM refunds WHERE id = ANY($1::uuid[]) AND state <> 'refused'
