-- Have a conductor take away what drc made on a host, so that the host can be removed.
-- Parameters: name text. Zero rows: no such host, or vessels are on it.
-- Locks: the host's row, which closes it first.
WITH h AS (
  UPDATE host SET cordoned = true
  WHERE name = %(name)s::text AND removed_at IS NULL
    AND NOT EXISTS (SELECT FROM vessel v WHERE v.host_id = host.id
                    AND v.living AND NOT v.waiting)
  RETURNING id, name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', 'remove')
  FROM h
)
INSERT INTO outbox (verb, host_id, request) SELECT 'leave', id, %(request)s::text FROM h
ON CONFLICT (host_id) WHERE verb = 'leave' DO UPDATE
SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp(),
    request = EXCLUDED.request
RETURNING host_id
