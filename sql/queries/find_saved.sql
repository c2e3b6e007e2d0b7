-- The last vessel of a name of which something was kept.
-- Parameters: owner_id bigint, name text. Zero rows: there is none.
SELECT id::text FROM vessel
WHERE owner_id = %(owner_id)s::bigint AND name = %(name)s::text AND saved_image IS NOT NULL
ORDER BY created_at DESC LIMIT 1
