-- End a session; running vessels are told, for its certificates end with it.
-- Parameters: id uuid, why text. Zero rows: there is none, or it has ended.
WITH s AS (
  UPDATE session SET ended_at = now(), ended_why = %(why)s::text
  WHERE id = %(id)s::uuid AND ended_at IS NULL
  RETURNING id, owner_id, name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'logout', name,
         jsonb_build_object('session', id)
  FROM s
)
SELECT id, queue_keys(owner_id, %(request)s::text) AS vessels FROM s
