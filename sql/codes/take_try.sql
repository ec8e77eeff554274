-- Count a try of an account, before it is known whether the code is one. An hour begins with its first try.
-- $1 account_id bigint   $2 hour interval   $3 tries_max integer
-- Returns allowed boolean, wait_s double precision (until the hour is over): one row.
INSERT INTO credit_code_tries AS t (account_id, since, tries)
VALUES ($1, now(), 1)
ON CONFLICT (account_id) DO UPDATE SET
    since = CASE WHEN t.since <= now() - $2::interval THEN now() ELSE t.since END,
    tries = CASE WHEN t.since <= now() - $2 THEN 1 ELSE least(t.tries, $3::integer) + 1 END
RETURNING tries <= $3 AS allowed, extract(epoch FROM since + $2 - now())::double precision AS wait_s
