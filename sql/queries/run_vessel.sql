-- The attempt's token was presented: the vessel runs.
-- Parameters: id uuid, attempt int, token_hash bytea, sources text[].
-- Zero rows: another token, attempt or state; read_proof tells which.
WITH v AS (
  UPDATE vessel SET state = 'running', state_since = clock_timestamp()
  WHERE id = %(id)s::uuid AND attempt = %(attempt)s::int
    AND token_hash = %(token_hash)s::bytea AND state = ANY (%(sources)s::text[])
  RETURNING id, owner_id, attempt, state
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, request)
SELECT state, owner_id, id, attempt, %(request)s::text FROM v
RETURNING vessel_id
