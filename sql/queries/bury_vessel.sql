-- The host's Docker says that the container is absent: give back what the vessel held.
-- Parameters: id uuid, attempt int, sources text[].
-- Zero rows: it is not stopping, this is another attempt, or another vessel still shares its GPUs.
--   Nothing is given back then.
-- Locks: the vessel's row, its host's row, then GPUs and counter, each from the part before.
WITH v AS (
  UPDATE vessel SET state = outcome, state_since = clock_timestamp()
  WHERE id = %(id)s::uuid AND attempt = %(attempt)s::int AND state = ANY (%(sources)s::text[])
    AND NOT EXISTS (SELECT FROM vessel s
                    WHERE s.shares_id = vessel.id AND s.living)
  RETURNING id, owner_id, attempt, state, reason, host_id, millicpus, memory_mib
),
h AS MATERIALIZED (
  SELECT host.id FROM host JOIN v ON host.id = v.host_id FOR NO KEY UPDATE OF host
),
g AS (
  UPDATE gpu SET vessel_id = NULL FROM v, h
  WHERE gpu.vessel_id = v.id AND h.id = gpu.host_id
  RETURNING gpu.id, gpu.host_id, gpu.model, gpu.memory_mib, gpu.ill
),
n AS (
  SELECT host_id, model, memory_mib, count(*) AS freed FROM g WHERE ill IS NULL
  GROUP BY host_id, model, memory_mib
),
c AS (
  UPDATE gpu_count c SET n_free = c.n_free + n.freed FROM n
  WHERE c.host_id = n.host_id AND c.model = n.model AND c.memory_mib = n.memory_mib
),
u AS (
  UPDATE host SET millicpus_free = millicpus_free + v.millicpus,
                  memory_free_mib = memory_free_mib + v.memory_mib
  FROM v, h WHERE host.id = h.id
),
l AS (
  UPDATE held SET until_at = now() FROM g WHERE held.gpu_id = g.id AND held.until_at IS NULL
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
SELECT state, owner_id, id, attempt,
       jsonb_build_object('reason', reason, 'freed', (SELECT coalesce(sum(freed), 0) FROM n)),
       %(request)s::text
FROM v
RETURNING kind AS state
