-- The owner's living vessel of a name, or else the last that bore it.
-- Parameters: owner_id bigint, name text, begins text (NULL: any; how its id begins).
-- Zero rows: there was never one.
SELECT id FROM vessel
WHERE owner_id = %(owner_id)s::bigint AND name = %(name)s::text
  AND (%(begins)s::text IS NULL OR starts_with(id::text, %(begins)s::text))
ORDER BY NOT living, created_at DESC
LIMIT 1
