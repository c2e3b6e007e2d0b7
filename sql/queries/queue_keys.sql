-- Have the owner's keys written again into each of the vessels that are up or coming up.
-- Parameters: owner_id bigint. Zero rows: there is none.
INSERT INTO outbox (verb, host_id, vessel_id, attempt)
SELECT 'keys', host_id, id, attempt FROM vessel
WHERE owner_id = %(owner_id)s::bigint AND state IN ('starting', 'running', 'unreachable')
ON CONFLICT (vessel_id, verb) WHERE verb IN ('keys', 'log') DO UPDATE
SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp()
RETURNING vessel_id
