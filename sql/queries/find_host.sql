-- The host of a name.
-- Parameters: name text. Zero rows: there is none.
SELECT id FROM host WHERE name = %(name)s::text AND removed_at IS NULL
