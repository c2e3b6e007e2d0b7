-- Move a session on to its next refresh token.
-- The token before the good one is answered as the first time, for `grace`: the answer may have been
-- lost, or two programs asked at once. After that it is somebody else's copy, and the session ends.
-- Parameters: id uuid, generation int, grace interval. Zero rows: no such session, or it has ended.
WITH seen AS (
  SELECT id, generation = %(generation)s::int AS is_good,
         generation = %(generation)s::int + 1 AND renewed_at > now() - %(grace)s::interval AS is_again
  FROM session
  WHERE id = %(id)s::uuid AND ended_at IS NULL AND expires_at > now()
  FOR UPDATE
), renewed AS (
  UPDATE session s SET
    generation = s.generation + seen.is_good::int,
    renewed_at = CASE WHEN seen.is_good THEN now() ELSE s.renewed_at END,
    ended_at = CASE WHEN NOT (seen.is_good OR seen.is_again) THEN now() END,
    ended_why = CASE WHEN NOT (seen.is_good OR seen.is_again)
                     THEN 'an old refresh token of it was used' END
  FROM seen WHERE s.id = seen.id
  RETURNING s.id, s.owner_id, s.name, s.generation, s.ended_at, s.expires_at
),
a AS (
  INSERT INTO audit (actor, action, target, result, detail)
  SELECT %(actor)s::jsonb, 'login', name, 'not-signed-in',
         jsonb_build_object('session', id, 'why', 'an old refresh token of it was used')
  FROM renewed WHERE ended_at IS NOT NULL
)
SELECT CASE WHEN r.ended_at IS NOT NULL THEN queue_keys(r.owner_id, %(request)s::text) END AS vessels,
       r.name, r.generation, r.ended_at IS NOT NULL AS ended, r.expires_at, o.subject
FROM renewed r JOIN owner o ON o.id = r.owner_id
