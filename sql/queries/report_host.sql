-- What a conductor found a host to be; it is well. GPUs are only added: one that is gone is not forgotten.
-- Parameters: id int, docker_version text, cpus int, millicpus int, memory_mib int,
--   gpus jsonb (uuid, index, name, model, memory_mib, simulated).
-- Zero rows: no such host.
WITH seen AS (
  SELECT * FROM jsonb_to_recordset(%(gpus)s::jsonb)
    AS g (uuid text, index smallint, name text, model text, memory_mib int, simulated boolean)
),
m AS (
  INSERT INTO gpu_model SELECT DISTINCT model FROM seen ON CONFLICT DO NOTHING
),
added AS (
  INSERT INTO gpu (host_id, uuid, idx, name, model, memory_mib, simulated)
  SELECT %(id)s::int, uuid, index, name, model, memory_mib, simulated FROM seen
  WHERE NOT EXISTS (SELECT FROM gpu g WHERE g.uuid = seen.uuid AND g.host_id = %(id)s::int)
  RETURNING model, memory_mib
),
renumbered AS (
  UPDATE gpu SET idx = seen.index FROM seen
  WHERE gpu.uuid = seen.uuid AND gpu.host_id = %(id)s::int AND gpu.idx <> seen.index
),
c AS (
  INSERT INTO gpu_count (host_id, model, memory_mib, n_free)
  SELECT %(id)s::int, model, memory_mib, count(*) FROM added GROUP BY model, memory_mib
  ON CONFLICT (host_id, model, memory_mib) DO UPDATE
  SET n_free = gpu_count.n_free + EXCLUDED.n_free
)
UPDATE host
SET docker_version = %(docker_version)s::text, cpus = %(cpus)s::int, probed = true, ill = NULL,
    n_gpus = n_gpus + (SELECT count(*) FROM added),
    millicpus_free = millicpus_free + %(millicpus)s::int - millicpus, millicpus = %(millicpus)s::int,
    memory_free_mib = memory_free_mib + %(memory_mib)s::int - memory_mib,
    memory_mib = %(memory_mib)s::int, seen_at = now()
WHERE id = %(id)s::int
RETURNING id
