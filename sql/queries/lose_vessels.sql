-- The host fell silent: its running vessels are unreachable, and stay held.
-- Parameters: host_id int, sources text[]. Zero rows: none was running.
WITH v AS (
  UPDATE vessel SET state = 'unreachable', state_since = clock_timestamp()
  WHERE host_id = %(host_id)s::int AND state = ANY (%(sources)s::text[])
  RETURNING id, owner_id, attempt, state
)
INSERT INTO event (kind, owner_id, vessel_id, attempt)
SELECT state, owner_id, id, attempt FROM v
RETURNING vessel_id
