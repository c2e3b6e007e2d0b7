-- The host fell silent, or one vessel of it is down with it: unreachable, and what they hold stays held.
-- Parameters: host_id int, or else id uuid and attempt int (NULL); sources text[].
-- Zero rows: none was running.
WITH v AS (
  UPDATE vessel SET state = 'unreachable', state_since = clock_timestamp()
  WHERE (host_id = %(host_id)s::int OR (id, attempt) = (%(id)s::uuid, %(attempt)s::int))
    AND state = ANY (%(sources)s::text[])
  RETURNING id, owner_id, attempt, state
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, request)
SELECT state, owner_id, id, attempt, %(request)s::text FROM v
RETURNING vessel_id
