-- How many connections the server allows, and how many are taken by others than this program.
-- Returns one row: allowed integer (without those reserved for superusers), others bigint.
SELECT
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true)::integer, 0) AS allowed,
    (
        SELECT count(*)
        FROM pg_stat_activity
        WHERE datid IS NOT NULL AND coalesce(application_name, '') NOT LIKE 'rabbitgw%'
    ) AS others
