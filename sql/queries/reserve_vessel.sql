-- Reserve the best-fitting host and its GPUs for one vessel, or let it wait: one statement, one
-- round trip, one commit. A new id is inserted; an id that waits already is placed if it can be.
--
-- Parameters: id uuid, owner_id bigint, name text, gpus smallint, models text[] (NULL: any),
--   gpu_memory_mib int, millicpus int (NULL: the host's share per GPU), memory_mib int (likewise),
--   host text (NULL: any), shm_mib int (NULL: half the memory), image text, env jsonb, lifetime interval,
--   token_hash bytea, idempotency_key text, request_hash bytea.
-- Always one row. `state` NULL: the id exists and waits on, or no longer waits. `contended`: a host
--   would fit, but its rows were locked by somebody else; ask again before telling anyone to wait.
-- Locks: one gpu_count and one host row per model asked for, then the GPUs taken; all by SKIP
--   LOCKED, so nobody waits for anybody and no two of these can deadlock. Rows that are changed
--   are read from the part that locked them: parts of one statement run in any order.
WITH cpu_default AS (
  -- a vessel without GPU gets 2 CPUs and 4 GiB unless it asks for something else
  SELECT CASE WHEN %(gpus)s::int = 0 THEN coalesce(%(millicpus)s::int, 2000)
              ELSE %(millicpus)s::int END AS millicpus,
         CASE WHEN %(gpus)s::int = 0 THEN coalesce(%(memory_mib)s::int, 4096)
              ELSE %(memory_mib)s::int END AS memory_mib
),
with_gpus AS MATERIALIZED (
  SELECT pick.*
  FROM gpu_model m
  CROSS JOIN LATERAL (
    -- the host in a subquery that locks: the planner can only walk gpu_count in best-fit order and
    -- look at each host as it comes, and so stops at the first that fits
    SELECT c.host_id, c.model, c.memory_mib AS gpu_mib, c.n_free, h.millicpus, h.memory_mib
    FROM gpu_count c
    CROSS JOIN LATERAL (
      SELECT coalesce(%(millicpus)s::int, h.millicpus_per_gpu * %(gpus)s::int) AS millicpus,
             coalesce(%(memory_mib)s::int, h.memory_per_gpu_mib * %(gpus)s::int) AS memory_mib
      FROM host h
      WHERE h.id = c.host_id
        AND h.open
        AND h.millicpus_free >= coalesce(%(millicpus)s::int, h.millicpus_per_gpu * %(gpus)s::int)
        AND h.memory_free_mib
            >= coalesce(%(memory_mib)s::int, h.memory_per_gpu_mib * %(gpus)s::int)
        AND (%(host)s::text IS NULL OR h.name = %(host)s::text)
      FOR NO KEY UPDATE OF h SKIP LOCKED
    ) h
    WHERE c.model = m.model
      AND c.memory_mib >= %(gpu_memory_mib)s::int
      AND c.n_free >= %(gpus)s::int
    ORDER BY c.memory_mib, c.n_free, c.host_id
    LIMIT 1
    FOR NO KEY UPDATE OF c SKIP LOCKED
  ) pick
  WHERE %(gpus)s::int > 0 AND (%(models)s::text[] IS NULL OR m.model = ANY (%(models)s::text[]))
  ORDER BY pick.gpu_mib, pick.n_free, pick.host_id
  LIMIT 1
),
without_gpus AS MATERIALIZED (
  SELECT h.id AS host_id, NULL::text AS model, NULL::int AS gpu_mib, 0::smallint AS n_free,
         h.millicpus, h.memory_mib
  FROM host o
  CROSS JOIN LATERAL (
    SELECT h.id, d.millicpus, d.memory_mib
    FROM host h, cpu_default d
    WHERE h.id = o.id
      AND h.open
      AND h.millicpus_free >= d.millicpus
      AND h.memory_free_mib >= d.memory_mib
      AND (%(host)s::text IS NULL OR h.name = %(host)s::text)
    FOR NO KEY UPDATE OF h SKIP LOCKED
  ) h
  WHERE %(gpus)s::int = 0 AND o.open
  ORDER BY o.n_gpus, o.id
  LIMIT 1
),
candidate AS MATERIALIZED (
  SELECT * FROM with_gpus UNION ALL SELECT * FROM without_gpus
),
taken AS MATERIALIZED (
  SELECT g.id
  FROM gpu g JOIN candidate c
    ON g.host_id = c.host_id AND g.model = c.model AND g.memory_mib = c.gpu_mib
  WHERE g.vessel_id IS NULL
  ORDER BY g.idx
  LIMIT %(gpus)s::int
  FOR NO KEY UPDATE OF g SKIP LOCKED
),
fit AS MATERIALIZED (
  -- the counter may be newer than our snapshot of the GPUs: take all of them or none
  SELECT c.* FROM candidate c WHERE (SELECT count(*) FROM taken) = %(gpus)s::int
),
contended AS MATERIALIZED (
  SELECT CASE
    WHEN EXISTS (SELECT FROM fit) THEN false
    WHEN %(gpus)s::int = 0 THEN EXISTS (
      SELECT FROM host h, cpu_default d
      WHERE h.open AND h.millicpus_free >= d.millicpus AND h.memory_free_mib >= d.memory_mib
        AND (%(host)s::text IS NULL OR h.name = %(host)s::text))
    ELSE EXISTS (
      SELECT FROM gpu_model m
      CROSS JOIN LATERAL (
        SELECT FROM gpu_count c
        CROSS JOIN LATERAL (
          SELECT FROM host h
          WHERE h.id = c.host_id
            AND h.open
            AND h.millicpus_free
                >= coalesce(%(millicpus)s::int, h.millicpus_per_gpu * %(gpus)s::int)
            AND h.memory_free_mib
                >= coalesce(%(memory_mib)s::int, h.memory_per_gpu_mib * %(gpus)s::int)
            AND (%(host)s::text IS NULL OR h.name = %(host)s::text)
          LIMIT 1
        ) h
        WHERE c.model = m.model
          AND c.memory_mib >= %(gpu_memory_mib)s::int
          AND c.n_free >= %(gpus)s::int
        LIMIT 1
      ) fits
      WHERE %(models)s::text[] IS NULL OR m.model = ANY (%(models)s::text[]))
    END AS yes
),
v AS (
  MERGE INTO vessel AS v
  USING (SELECT %(id)s::uuid AS id, f.host_id, f.millicpus, f.memory_mib
         FROM (VALUES (1)) one LEFT JOIN fit f ON true) s
  ON v.id = s.id
  WHEN MATCHED AND v.state = 'queued' AND s.host_id IS NOT NULL THEN
    UPDATE SET state = 'reserved', state_since = clock_timestamp(), host_id = s.host_id,
               millicpus = s.millicpus, memory_mib = s.memory_mib, ends_at = now() + v.lifetime
  WHEN NOT MATCHED THEN
    INSERT (id, owner_id, name, state, gpus, models, gpu_memory_mib, wants_millicpus,
            wants_memory_mib, wants_host, shm_mib, image, env, lifetime, host_id, millicpus,
            memory_mib, ends_at, token_hash, idempotency_key, request_hash)
    VALUES (s.id, %(owner_id)s::bigint, %(name)s::text,
            CASE WHEN s.host_id IS NULL THEN 'queued' ELSE 'reserved' END,
            %(gpus)s::smallint, %(models)s::text[], %(gpu_memory_mib)s::int, %(millicpus)s::int,
            %(memory_mib)s::int, %(host)s::text, %(shm_mib)s::int, %(image)s::text,
            %(env)s::jsonb, %(lifetime)s::interval, s.host_id, s.millicpus, s.memory_mib,
            now() + %(lifetime)s::interval, %(token_hash)s::bytea, %(idempotency_key)s::text,
            %(request_hash)s::bytea)
  RETURNING v.id, v.owner_id, v.name, v.state, v.attempt, v.host_id, v.millicpus, v.memory_mib
),
h AS (
  UPDATE host h
  SET millicpus_free = h.millicpus_free - v.millicpus,
      memory_free_mib = h.memory_free_mib - v.memory_mib
  FROM v WHERE h.id = v.host_id
  RETURNING h.name
),
c AS (
  UPDATE gpu_count c SET n_free = c.n_free - %(gpus)s::smallint
  FROM fit f, v
  WHERE v.host_id = f.host_id
    AND c.host_id = f.host_id AND c.model = f.model AND c.memory_mib = f.gpu_mib
),
g AS (
  UPDATE gpu SET vessel_id = v.id
  FROM taken t, v WHERE gpu.id = t.id AND v.host_id IS NOT NULL
  RETURNING gpu.id AS gpu_id, v.id AS vessel_id, v.attempt
),
l AS (
  INSERT INTO held (vessel_id, attempt, gpu_id) SELECT vessel_id, attempt, gpu_id FROM g
),
o AS (
  INSERT INTO outbox (verb, host_id, vessel_id, attempt)
  SELECT 'start', v.host_id, v.id, v.attempt FROM v WHERE v.host_id IS NOT NULL
),
e AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data)
  SELECT v.state, v.owner_id, v.id, v.attempt,
         jsonb_strip_nulls(jsonb_build_object('name', v.name, 'host', h.name))
  FROM v LEFT JOIN h ON true
  WHERE v.state = 'reserved' OR NOT (SELECT yes FROM contended)
)
SELECT v.state, (SELECT yes FROM contended) AS contended FROM (VALUES (1)) one LEFT JOIN v ON true
