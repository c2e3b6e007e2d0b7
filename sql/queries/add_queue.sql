-- Add a queue, or change who may use one.
-- Parameters: name text, users text[] (NULL: everybody).
WITH n AS (
  INSERT INTO queue (name, users) VALUES (%(name)s::text, %(users)s::text[])
  ON CONFLICT (name) DO UPDATE SET users = EXCLUDED.users
  RETURNING name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'queues:write', name,
         jsonb_build_object('users', %(users)s::text[])
  FROM n
)
SELECT name FROM n
