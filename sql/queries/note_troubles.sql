-- What is wrong with a host and its GPUs now, of these kinds; what was and is not any more has ended.
-- Those whom something new concerns find it among their vessels' events. What comes back before it was
-- called over is the same trouble; another XID of another owner's program is another.
-- Parameters: host_id int, kinds text[] (that were looked for), found jsonb (kind, uuid: a card's, or
--   null: the host's; vessel: an id, or null; detail). Zero rows: nothing is new.
WITH h AS MATERIALIZED (
  SELECT id, name FROM host WHERE id = %(host_id)s::int AND removed_at IS NULL
),
f AS MATERIALIZED (
  SELECT DISTINCT ON (r.kind, g.id, r.vessel) r.kind, g.id AS gpu_id, r.vessel, r.detail, r.uuid
  FROM h CROSS JOIN jsonb_to_recordset(%(found)s::jsonb) AS r (kind text, uuid text, vessel uuid, detail text)
  LEFT JOIN LATERAL (
    SELECT min(id) AS id FROM gpu
    WHERE gpu.host_id = h.id AND NOT gpu.removed AND coalesce(gpu.parent, gpu.uuid) = r.uuid
  ) g ON true
  WHERE r.uuid IS NULL OR g.id IS NOT NULL
  ORDER BY r.kind, g.id, r.vessel
),
concerned AS MATERIALIZED (
  SELECT f.kind, f.gpu_id, f.vessel, v.id, v.owner_id, v.attempt
  FROM h CROSS JOIN f
  JOIN vessel v ON v.host_id = h.id AND (v.living OR v.id = f.vessel)
    AND (f.vessel IS NULL OR v.id = f.vessel)
    AND (f.uuid IS NULL OR EXISTS (
      SELECT FROM gpu g WHERE g.host_id = h.id AND NOT g.removed AND coalesce(g.parent, g.uuid) = f.uuid
        AND g.vessel_id IN (v.id, v.shares_id)))
),
other AS MATERIALIZED (
  SELECT t.id FROM h
  JOIN trouble t ON t.host_id = h.id AND t.over_at IS NULL AND t.kind = 'program-fault'
  JOIN f ON f.kind = t.kind AND f.gpu_id = t.gpu_id AND f.detail <> t.detail
  WHERE EXISTS (SELECT FROM concerned c WHERE c.kind = f.kind AND c.gpu_id = f.gpu_id)
    AND NOT EXISTS (SELECT FROM concerned c WHERE c.kind = f.kind AND c.gpu_id = f.gpu_id
                      AND c.id = ANY (t.vessels))
),
e AS (
  UPDATE trouble t SET ended_at = clock_timestamp() FROM h
  WHERE t.host_id = h.id AND t.over_at IS NULL AND t.ended_at IS NULL AND t.kind = ANY (%(kinds)s::text[])
    AND NOT EXISTS (SELECT FROM f WHERE f.kind = t.kind AND f.gpu_id IS NOT DISTINCT FROM t.gpu_id
                      AND f.vessel IS NOT DISTINCT FROM t.vessel_id)
),
i AS (
  INSERT INTO trouble (kind, host_id, gpu_id, vessel_id, detail, vessels)
  SELECT f.kind, h.id, f.gpu_id, f.vessel, f.detail,
         ARRAY(SELECT c.id FROM concerned c WHERE c.kind = f.kind AND c.gpu_id IS NOT DISTINCT FROM f.gpu_id
                 AND c.vessel IS NOT DISTINCT FROM f.vessel)
  FROM h CROSS JOIN f
  ON CONFLICT (kind, host_id, coalesce(gpu_id, 0), coalesce(vessel_id, '00000000-0000-0000-0000-000000000000'))
    WHERE over_at IS NULL
  DO UPDATE SET seen_at = clock_timestamp(), detail = EXCLUDED.detail, ended_at = NULL,
                returns = trouble.returns + (trouble.ended_at IS NOT NULL)::int,
                began_at = CASE WHEN trouble.id IN (SELECT id FROM other) THEN EXCLUDED.began_at
                                ELSE trouble.began_at END,
                told_at = CASE WHEN trouble.id NOT IN (SELECT id FROM other) THEN trouble.told_at END,
                -- whoever came to a GPU after its trouble began has no part in it
                vessels = CASE WHEN trouble.id IN (SELECT id FROM other) THEN EXCLUDED.vessels
                               WHEN trouble.ended_at IS NULL THEN trouble.vessels
                               ELSE ARRAY(SELECT DISTINCT unnest(trouble.vessels || EXCLUDED.vessels)) END
  RETURNING id, kind, vessels, detail, began_at >= statement_timestamp() AS is_new
),
n AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data)
  SELECT 'trouble', v.owner_id, v.id, v.attempt,
         jsonb_build_object('host', h.name, 'what', i.kind, 'reason', i.detail)
  FROM h CROSS JOIN i JOIN vessel v ON v.id = ANY (i.vessels)
  WHERE i.is_new
)
SELECT id, kind FROM i WHERE is_new
