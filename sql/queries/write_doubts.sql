-- Write down all that measurements let one suspect of GPUs; what is not among it is suspected no more.
-- A host of which something else is suspected than before is to be looked at.
-- Parameters: found jsonb (uuid: a card's, sign, value). A card that is not ours is left out.
-- Zero rows: nothing is new. Returns the hosts that are looked at.
WITH f AS MATERIALIZED (
  SELECT g.id, g.host_id, r.sign, max(r.value) AS value
  FROM jsonb_to_recordset(%(found)s::jsonb) AS r (uuid text, sign text, value bigint)
  JOIN gpu g ON coalesce(g.parent, g.uuid) = r.uuid AND NOT g.removed AND NOT g.simulated
  GROUP BY g.id, g.host_id, r.sign
),
d AS (
  DELETE FROM doubt WHERE NOT EXISTS (SELECT FROM f WHERE (f.id, f.sign) = (doubt.gpu_id, doubt.sign))
  RETURNING gpu_id
),
i AS (
  INSERT INTO doubt (gpu_id, sign, value) SELECT id, sign, value FROM f ORDER BY id, sign
  ON CONFLICT (gpu_id, sign) DO UPDATE SET value = EXCLUDED.value, since = clock_timestamp()
  WHERE doubt.value <> EXCLUDED.value
  RETURNING gpu_id
)
INSERT INTO outbox (verb, host_id)
SELECT DISTINCT 'probe', g.host_id
FROM (SELECT gpu_id FROM i UNION SELECT gpu_id FROM d) x
JOIN gpu g ON g.id = x.gpu_id AND NOT g.removed
ON CONFLICT (host_id) WHERE verb = 'probe' DO UPDATE
SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp()
RETURNING host_id
