-- As whom this connection works, and what of the books it may not even read. Partitions are reached by their parents.
-- $1 app_role text
-- Returns one row: role text, login text, superuser boolean, app_role_exists boolean, may_change_ledger boolean,
-- unreadable text[].
SELECT
    current_user::text AS role,
    session_user::text AS login,
    r.rolsuper AS superuser,
    EXISTS (SELECT FROM pg_roles AS p WHERE p.rolname = $1) AS app_role_exists,
    has_table_privilege('ledger_entries', 'UPDATE') OR has_table_privilege('ledger_entries', 'DELETE')
        AS may_change_ledger,
    ARRAY(
        SELECT c.relname::text
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
            AND NOT has_table_privilege(c.oid, 'SELECT')
        ORDER BY c.relname
    ) AS unreadable
FROM pg_roles AS r
WHERE r.rolname = current_user
