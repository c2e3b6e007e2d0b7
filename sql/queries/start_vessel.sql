-- A conductor took the work of a reserved vessel.
-- Parameters: id uuid, attempt int, sources text[]. Zero rows: another state or attempt.
WITH v AS (
  UPDATE vessel SET state = 'starting', state_since = clock_timestamp()
  WHERE id = %(id)s::uuid AND attempt = %(attempt)s::int AND state = ANY (%(sources)s::text[])
  RETURNING id, owner_id, attempt, state
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, request)
SELECT state, owner_id, id, attempt, %(request)s::text FROM v
RETURNING vessel_id
