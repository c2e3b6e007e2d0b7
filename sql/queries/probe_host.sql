-- Have a conductor look at a host again.
-- Parameters: name text. Zero rows: no such host.
INSERT INTO outbox (verb, host_id) SELECT 'probe', id FROM host WHERE name = %(name)s::text AND removed_at IS NULL
ON CONFLICT (host_id) WHERE verb = 'probe' DO UPDATE
SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp()
RETURNING host_id
