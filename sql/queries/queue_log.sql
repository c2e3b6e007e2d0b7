-- Have a vessel's log fetched.
-- Parameters: id uuid. Zero rows: it is on no host.
INSERT INTO outbox (verb, host_id, vessel_id, attempt, request)
SELECT 'log', host_id, id, attempt, %(request)s::text FROM vessel
WHERE id = %(id)s::uuid AND state IN ('starting', 'running', 'stopping')
ON CONFLICT (vessel_id, verb) WHERE verb IN ('keys', 'log') DO UPDATE
SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp(),
    request = EXCLUDED.request
RETURNING vessel_id
