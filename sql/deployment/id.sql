-- Whose orders these are.
-- Returns id: one row, or none when the database was never migrated.
SELECT id::text AS id FROM deployment
