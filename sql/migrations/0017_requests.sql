-- Which request caused what: its id goes with the work, and comes back in the events of that work.
-- A vessel bears that of its create, for the time when it is served out of the queue.

ALTER TABLE vessel ADD COLUMN request text;
ALTER TABLE outbox ADD COLUMN request text;
ALTER TABLE event ADD COLUMN request text;

DROP FUNCTION queue_keys(bigint);
-- Have keys and revocations of an owner written again into each vessel that is up or coming up.
-- Returns how many.
CREATE FUNCTION queue_keys(of_owner bigint, of_request text) RETURNS bigint LANGUAGE sql AS $$
  WITH queued AS (
    INSERT INTO outbox (verb, host_id, vessel_id, attempt, request)
    SELECT 'keys', host_id, id, attempt, of_request FROM vessel
    WHERE owner_id = of_owner AND state IN ('starting', 'running', 'unreachable')
    ON CONFLICT (vessel_id, verb) WHERE verb IN ('keys', 'log') DO UPDATE
    SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp(),
        request = EXCLUDED.request
    RETURNING 1
  )
  SELECT count(*) FROM queued
$$;
