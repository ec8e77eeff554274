-- Has this database ever been migrated?
-- Returns one row: found boolean.
SELECT to_regclass('schema_migrations') IS NOT NULL AS found
