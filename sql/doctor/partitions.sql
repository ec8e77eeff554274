-- The monthly partitions that are missing, from this month on: of each table that has a default one.
-- $1 months ahead integer
-- Returns partition_name text, months_ahead integer: a row per partition that is missing.
SELECT named.partition_name, named.months_ahead
FROM pg_class AS c,
    generate_series(0, $1::integer) AS n (months_ahead),
    LATERAL (
        SELECT
            format(
                '%s_%s', c.relname,
                to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n.months_ahead), 'YYYY_MM')
            ) AS partition_name,
            n.months_ahead
    ) AS named
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'p'
    AND to_regclass(quote_ident(c.relname || '_default')) IS NOT NULL
    AND to_regclass(quote_ident(named.partition_name)) IS NULL
ORDER BY named.months_ahead, named.partition_name
