-- Pin the host key that a conductor was shown, if it is the one meant, and look again.
-- Parameters: name text, ssh_host_key text. Zero rows: another key was shown, or no such host.
WITH h AS (
  UPDATE host SET ssh_host_key = shown_host_key, ill = NULL
  WHERE name = %(name)s::text AND removed_at IS NULL AND shown_host_key = %(ssh_host_key)s::text
  RETURNING id, name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', 'trust', 'key', %(ssh_host_key)s::text)
  FROM h
)
INSERT INTO outbox (verb, host_id, request) SELECT 'probe', id, %(request)s::text FROM h
ON CONFLICT (host_id) WHERE verb = 'probe' DO UPDATE
SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp(),
    request = EXCLUDED.request
RETURNING host_id
