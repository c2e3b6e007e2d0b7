-- Close a host to new vessels, and say when those on it end. Their owners are told, each once.
-- Parameters: name text, by timestamptz, why text (NULL: nobody said), moves boolean (whether they are
--   created again elsewhere). Zero rows: no such host. Locks: the host's row.
WITH h AS (
  UPDATE host SET cordoned = true, drain_at = %(by)s::timestamptz, drain_why = %(why)s::text,
                  drain_moves = %(moves)s::boolean
  WHERE name = %(name)s::text AND removed_at IS NULL
  RETURNING id, name, drain_at, drain_why, drain_moves
),
v AS (
  SELECT v.id, v.owner_id, v.name, v.attempt FROM vessel v JOIN h ON h.id = v.host_id
  WHERE v.living AND v.state <> 'stopping'
),
m AS (
  INSERT INTO message (owner_id, kind, body)
  SELECT v.owner_id, 'draining',
         jsonb_build_object('host', h.name, 'at', h.drain_at, 'why', h.drain_why, 'moves', h.drain_moves,
                            'vessels', jsonb_agg(v.name ORDER BY v.name))
  FROM h CROSS JOIN v GROUP BY v.owner_id, h.name, h.drain_at, h.drain_why, h.drain_moves
),
e AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data)
  SELECT 'draining', v.owner_id, v.id, v.attempt,
         jsonb_strip_nulls(jsonb_build_object('host', h.name, 'ends_at', h.drain_at, 'reason', h.drain_why))
  FROM h CROSS JOIN v
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', 'drain', 'at', drain_at, 'why', drain_why, 'moves', drain_moves)
  FROM h
)
SELECT h.name AS host, v.name, o.login AS owner
FROM h LEFT JOIN v ON true LEFT JOIN owner o ON o.id = v.owner_id
ORDER BY o.login, v.name
