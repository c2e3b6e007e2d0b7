-- Let a host that was looked at take vessels.
-- Parameters: name text. Zero rows: no such host, or it was not looked at.
WITH h AS (
  UPDATE host SET committed = true WHERE name = %(name)s::text AND removed_at IS NULL AND probed
  RETURNING id, name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', 'commit')
  FROM h
)
SELECT id FROM h
