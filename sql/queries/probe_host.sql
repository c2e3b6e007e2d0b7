-- Have a conductor look at a host again.
-- Parameters: name text. Zero rows: no such host.
WITH h AS (
  SELECT id, name FROM host WHERE name = %(name)s::text AND removed_at IS NULL
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', 'probe')
  FROM h
)
INSERT INTO outbox (verb, host_id, request) SELECT 'probe', id, %(request)s::text FROM h
ON CONFLICT (host_id) WHERE verb = 'probe' DO UPDATE
SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp(),
    request = EXCLUDED.request
RETURNING host_id
