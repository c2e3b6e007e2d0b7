-- End every session of an owner's, and revoke every token and certificate; running vessels are told.
-- Parameters: owner_id bigint, why text. A row for each session; one without an id where there is none.
WITH s AS (
  UPDATE session SET ended_at = now(), ended_why = %(why)s::text
  WHERE owner_id = %(owner_id)s::bigint AND ended_at IS NULL AND expires_at > now()
  RETURNING id, name, client
),
c AS (
  UPDATE certificate SET revoked_at = now()
  WHERE owner_id = %(owner_id)s::bigint AND revoked_at IS NULL AND expires_at > now()
),
t AS (
  UPDATE token SET revoked_at = now()
  WHERE owner_id = %(owner_id)s::bigint AND revoked_at IS NULL
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'logout', name, jsonb_build_object('session', id, 'client', client)
  FROM s
)
SELECT s.id, s.client, told.vessels
FROM (SELECT queue_keys(%(owner_id)s::bigint, %(request)s::text) AS vessels) told LEFT JOIN s ON true
