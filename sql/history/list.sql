-- The migrations this database has had.
-- Returns name, sha256: zero or more rows, in order.
SELECT name, sha256 FROM schema_migrations ORDER BY name
