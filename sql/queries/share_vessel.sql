-- Reserve a place for a vessel that shares the GPUs of another one of its owner's, on that one's host.
-- It has no GPU of its own, and it does not wait.
-- Parameters: id uuid, owner_id bigint, name text, queues text[], shares_id uuid, millicpus int,
--   memory_mib int, shm_mib int, image text, digest text, env jsonb, lifetime interval, shape bigint,
--   token_hash bytea, idempotency_key text, request_hash bytea, home_from int.
-- Zero rows: the other is not up, or its host is closed or has not enough CPUs or memory left.
-- Locks: the other's row, so that it cannot begin to stop meanwhile, then the host's; as a burial does.
WITH lead AS MATERIALIZED (
  SELECT id, host_id FROM vessel
  WHERE id = %(shares_id)s::uuid AND owner_id = %(owner_id)s::bigint AND gpus > 0
    AND state IN ('reserved', 'starting', 'running')
  FOR SHARE
),
h AS MATERIALIZED (
  SELECT h.id, h.name FROM host h JOIN lead ON h.id = lead.host_id
  WHERE h.open
    AND h.millicpus_free >= %(millicpus)s::int
    AND h.memory_free_mib >= %(memory_mib)s::int
  FOR NO KEY UPDATE OF h
),
v AS (
  INSERT INTO vessel (id, owner_id, name, state, queues, gpus, gpu_memory_mib, wants_millicpus,
                      wants_memory_mib, shm_mib, image, wants_digest, env, lifetime, shape, shares_id, host_id,
                      millicpus, memory_mib, ends_at, token_hash, idempotency_key, request_hash, home_from,
                      request)
  SELECT %(id)s::uuid, %(owner_id)s::bigint, %(name)s::text, 'reserved', %(queues)s::text[], 0, 0,
         %(millicpus)s::int, %(memory_mib)s::int, %(shm_mib)s::int, %(image)s::text, %(digest)s::text, %(env)s::jsonb,
         %(lifetime)s::interval, %(shape)s::bigint, %(shares_id)s::uuid, h.id, %(millicpus)s::int,
         %(memory_mib)s::int, now() + %(lifetime)s::interval, %(token_hash)s::bytea,
         %(idempotency_key)s::text, %(request_hash)s::bytea, nullif(%(home_from)s::int, h.id), %(request)s::text
  FROM h
  RETURNING id, owner_id, name, state, attempt, host_id
),
u AS (
  UPDATE host SET millicpus_free = millicpus_free - %(millicpus)s::int,
                  memory_free_mib = memory_free_mib - %(memory_mib)s::int
  FROM h WHERE host.id = h.id
),
o AS (
  INSERT INTO outbox (verb, host_id, vessel_id, attempt, request)
  SELECT 'start', host_id, id, attempt, %(request)s::text FROM v
),
e AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
  SELECT v.state, v.owner_id, v.id, v.attempt, jsonb_build_object('name', v.name, 'host', h.name),
         %(request)s::text
  FROM v, h
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'vessels:create', v.name,
         jsonb_build_object('id', v.id, 'shares', %(shares_id)s::uuid)
  FROM v
)
SELECT state FROM v
