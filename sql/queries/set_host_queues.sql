-- Put a host into other queues; a trigger moves its counters with it. What waits in one of them is
-- looked at again by whoever asked.
-- Parameters: name text, queues text[] (sorted). Zero rows: no such host.
WITH h AS (
  UPDATE host SET queues = %(queues)s::text[]
  WHERE name = %(name)s::text AND removed_at IS NULL
  RETURNING id, name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', 'set', 'queues', %(queues)s::text[])
  FROM h
)
SELECT id FROM h
