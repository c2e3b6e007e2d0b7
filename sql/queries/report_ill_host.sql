-- A conductor could not make a host out. It takes no new vessels until a look finds it well, and is
-- looked at until then.
-- Parameters: id int, ill text. Zero rows: no such host.
WITH h AS (
  SELECT id, name, ill FROM host WHERE id = %(id)s::int AND removed_at IS NULL FOR NO KEY UPDATE
),
u AS (
  UPDATE host SET ill = %(ill)s::text, looked_at = clock_timestamp() FROM h WHERE host.id = h.id RETURNING host.id
),
e AS (
  INSERT INTO event (kind, data, request)
  SELECT 'host_ill', jsonb_build_object('host', name, 'reason', %(ill)s::text), %(request)s::text
  FROM h WHERE ill IS DISTINCT FROM %(ill)s::text
),
o AS (
  INSERT INTO outbox (verb, host_id, run_at, request) SELECT 'probe', id, clock_timestamp() + interval '5 seconds', %(request)s::text
  FROM u
  ON CONFLICT (host_id) WHERE verb = 'probe' DO NOTHING
)
SELECT id FROM u
