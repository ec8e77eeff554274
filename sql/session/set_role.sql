-- Step down to the application's role for the rest of the session, where it exists and this user may. RESET ALL
-- does not undo it.
-- $1 role text
-- Returns role: one row, or none where the role cannot be taken.
SELECT set_config('role', rolname, false) AS role
FROM pg_roles
WHERE rolname = $1 AND pg_has_role(session_user, oid, 'MEMBER')
