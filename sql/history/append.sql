-- Note a migration as applied.
-- $1 name text   $2 sha256 text, hex of the file's bytes
INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)
