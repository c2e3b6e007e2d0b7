-- The host is back and the vessel's container runs.
-- Parameters: id uuid, attempt int, sources text[], data jsonb (of the event). Zero rows: it was not lost.
WITH v AS (
  UPDATE vessel SET state = 'running', state_since = clock_timestamp()
  WHERE id = %(id)s::uuid AND attempt = %(attempt)s::int AND state = ANY (%(sources)s::text[])
  RETURNING id, owner_id, attempt, state
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
SELECT state, owner_id, id, attempt, %(data)s::jsonb, %(request)s::text FROM v
RETURNING vessel_id
