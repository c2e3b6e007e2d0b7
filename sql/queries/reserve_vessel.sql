-- Reserve the best-fitting host and its GPUs for one vessel, or let it wait: one statement, one
-- round trip, one commit. A new id is inserted; an id that waits already is placed if it can be.
-- Kept lean, for every part costs every create: what is asked on a miss only is is_contended.sql.
--
-- Parameters: id uuid, owner_id bigint, name text, queues text[], gpus smallint, models text[]
--   (NULL: any whole card), gpu_memory_mib int, millicpus int (NULL: the host's share per GPU),
--   memory_mib int (likewise), host_id int (NULL: any), near_id int (NULL: any; this host for now),
--   shm_mib int (NULL: half the memory), image text, digest text (NULL: whatever bears the
--   image's name; else this very one), env jsonb, lifetime interval, shape bigint,
--   waits boolean (it is in the queue already), token_hash bytea, idempotency_key text,
--   request_hash bytea, home_from int (the host whose home of the owner's comes along; NULL: none).
-- Zero rows: the id exists, and waits on or no longer waits.
-- Locks: one host and one gpu_count row per kind that would do, then the GPUs taken, in the order in
--   which everybody locks them; by SKIP LOCKED, so that hardly anybody waits for anybody. (A row that
--   was changed between our look and our lock is waited for all the same.) Rows that are changed are
--   read from the part that locked them: parts of one statement run in any order.
WITH best AS MATERIALIZED (
  SELECT pick.*
  FROM gpu_kind k
  CROSS JOIN LATERAL (
    SELECT l.*
    FROM (
      -- in best-fit order, and no further than somebody is likely to have been faster
      SELECT c.host_id, c.memory_mib
      FROM gpu_count c
      CROSS JOIN LATERAL (
        -- apart, so that the planner can only look at each host as the counters come
        SELECT FROM host h
        WHERE h.id = c.host_id
          AND h.millicpus_free >= coalesce(%(millicpus)s::int, h.millicpus_per_gpu * %(gpus)s::int)
          AND h.memory_free_mib
              >= coalesce(%(memory_mib)s::int, h.memory_per_gpu_mib * %(gpus)s::int)
        OFFSET 0
      ) h
      WHERE c.open
        AND c.kind_id = k.id
        AND c.memory_mib >= %(gpu_memory_mib)s::int
        AND c.n_free >= %(gpus)s::int
        AND c.host_id BETWEEN coalesce(%(near_id)s::int, %(host_id)s::int, 0)
                          AND coalesce(%(near_id)s::int, %(host_id)s::int, 2147483647)
      ORDER BY c.memory_mib, c.n_free, c.host_id
      LIMIT 16
    ) c
    CROSS JOIN LATERAL (
      SELECT l.host_id, l.model, l.memory_mib AS gpu_mib, l.n_free,
             coalesce(%(millicpus)s::int, h.millicpus_per_gpu * %(gpus)s::int) AS millicpus,
             coalesce(%(memory_mib)s::int, h.memory_per_gpu_mib * %(gpus)s::int) AS memory_mib
      FROM gpu_count l, host h
      WHERE l.host_id = c.host_id
        AND l.model = k.model
        AND l.memory_mib = c.memory_mib
        AND l.n_free >= %(gpus)s::int
        AND h.id = c.host_id
        AND h.open
        AND h.millicpus_free >= coalesce(%(millicpus)s::int, h.millicpus_per_gpu * %(gpus)s::int)
        AND h.memory_free_mib
            >= coalesce(%(memory_mib)s::int, h.memory_per_gpu_mib * %(gpus)s::int)
      FOR NO KEY UPDATE OF h, l SKIP LOCKED  -- the host first, as everybody does
    ) l
    LIMIT 1
  ) pick
  WHERE k.queues && %(queues)s::text[]
    AND CASE WHEN %(gpus)s::int = 0 THEN k.model = 'none'
             WHEN %(models)s::text[] IS NULL THEN k.whole
             ELSE k.model = ANY (%(models)s::text[]) END
    -- whoever asks for what others wait for waits behind them
    AND CASE WHEN %(waits)s::boolean THEN
          EXISTS (SELECT FROM vessel q WHERE q.id = %(id)s::uuid AND q.waiting)
        ELSE NOT EXISTS (
          SELECT FROM vessel q WHERE q.waiting AND q.shape = %(shape)s::bigint) END
  ORDER BY pick.gpu_mib, pick.n_free, pick.host_id
  LIMIT 1
),
taken AS MATERIALIZED (
  -- from the smallest NVLink island that is large enough, or else from the largest ones
  SELECT g.id
  FROM best b
  JOIN gpu g ON g.host_id = b.host_id AND g.model = b.model AND g.memory_mib = b.gpu_mib
  LEFT JOIN LATERAL (
    SELECT count(*) AS n FROM gpu i
    WHERE g.island IS NOT NULL AND i.host_id = g.host_id AND i.model = g.model
      AND i.memory_mib = g.memory_mib AND i.island = g.island
      AND i.vessel_id IS NULL AND i.ill IS NULL
  ) i ON true
  WHERE g.vessel_id IS NULL AND g.ill IS NULL
  ORDER BY i.n < %(gpus)s::int, CASE WHEN i.n < %(gpus)s::int THEN -i.n ELSE i.n END, g.island, g.idx
  LIMIT %(gpus)s::int
  FOR NO KEY UPDATE OF g SKIP LOCKED
),
fit AS MATERIALIZED (
  -- the counter may be newer than our snapshot of the GPUs: take all of them or none
  SELECT b.* FROM best b WHERE (SELECT count(*) FROM taken) = %(gpus)s::int
),
v AS (
  INSERT INTO vessel AS v
         (id, owner_id, name, state, queues, gpus, models, gpu_memory_mib, wants_millicpus,
          wants_memory_mib, wants_host_id, shm_mib, image, wants_digest, env, lifetime, shape, host_id, millicpus,
          memory_mib, ends_at, token_hash, idempotency_key, request_hash, home_from,
          request)
  SELECT %(id)s::uuid, %(owner_id)s::bigint, %(name)s::text,
         CASE WHEN f.host_id IS NULL THEN 'queued' ELSE 'reserved' END, %(queues)s::text[],
         %(gpus)s::smallint, %(models)s::text[], %(gpu_memory_mib)s::int, %(millicpus)s::int,
         %(memory_mib)s::int, %(host_id)s::int, %(shm_mib)s::int, %(image)s::text,
         %(digest)s::text, %(env)s::jsonb, %(lifetime)s::interval, %(shape)s::bigint, f.host_id, f.millicpus, f.memory_mib,
         now() + %(lifetime)s::interval, %(token_hash)s::bytea, %(idempotency_key)s::text,
         %(request_hash)s::bytea, nullif(%(home_from)s::int, f.host_id), %(request)s::text
  FROM (VALUES (1)) one LEFT JOIN fit f ON true
  ON CONFLICT (id) DO UPDATE
  SET state = 'reserved', state_since = clock_timestamp(), host_id = EXCLUDED.host_id,
      millicpus = EXCLUDED.millicpus, memory_mib = EXCLUDED.memory_mib, ends_at = EXCLUDED.ends_at, home_from = EXCLUDED.home_from
  WHERE v.state = 'queued' AND EXCLUDED.host_id IS NOT NULL
  RETURNING v.id, v.owner_id, v.name, v.state, v.attempt, v.host_id, v.millicpus, v.memory_mib,
            v.request
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
  WHERE v.host_id = f.host_id AND %(gpus)s::int > 0
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
  INSERT INTO outbox (verb, host_id, vessel_id, attempt, request)
  SELECT 'start', v.host_id, v.id, v.attempt, v.request FROM v WHERE v.host_id IS NOT NULL
),
e AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
  SELECT v.state, v.owner_id, v.id, v.attempt, jsonb_build_object('name', v.name, 'host', h.name),
         v.request
  FROM v JOIN h ON true
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'vessels:create', v.name,
         jsonb_build_object('id', v.id, 'gpus', %(gpus)s::smallint, 'state', v.state)
  FROM v WHERE NOT %(waits)s::boolean
)
SELECT state FROM v
