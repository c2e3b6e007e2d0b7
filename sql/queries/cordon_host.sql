-- Close a host to new vessels, or open it again, which also takes back that it is to leave or to be
-- drained. What is on it stays.
-- Parameters: name text, cordoned boolean. Zero rows: no such host.
WITH o AS (
  DELETE FROM outbox USING host h
  WHERE NOT %(cordoned)s::boolean AND outbox.verb = 'leave' AND outbox.host_id = h.id
    AND h.name = %(name)s::text AND h.removed_at IS NULL
),
h AS (
  UPDATE host SET cordoned = %(cordoned)s::boolean,
                  drain_at = CASE WHEN %(cordoned)s::boolean THEN drain_at END
  WHERE name = %(name)s::text AND removed_at IS NULL
  RETURNING id, name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', CASE WHEN %(cordoned)s::boolean THEN 'cordon' ELSE 'uncordon' END)
  FROM h
)
SELECT id FROM h
