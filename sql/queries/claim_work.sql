-- Take the oldest due piece of work under a lease and, for a start, a waiting berth with it.
-- Parameters: conductor text (its name, and after a # what tells this claim from its others),
--   lease interval, hosts int[] (to be left alone: busy or silent).
-- Zero rows: nothing is due. A claim whose lease ran out is due again.
-- Locks: the outbox row and the berth, by SKIP LOCKED.
WITH due AS MATERIALIZED (
  SELECT id FROM outbox
  WHERE run_at <= clock_timestamp()
    AND (lease_until IS NULL OR lease_until < now())
    AND NOT host_id = ANY (%(hosts)s::int[])
  ORDER BY id
  LIMIT 1
  FOR UPDATE SKIP LOCKED
),
w AS (
  UPDATE outbox SET claimed_by = %(conductor)s::text, lease_until = now() + %(lease)s::interval,
                    tries = outbox.tries + 1
  FROM due WHERE outbox.id = due.id
  RETURNING outbox.id, verb, outbox.host_id, vessel_id, attempt, generation, tries, build_id,
            request
),
waiting AS MATERIALIZED (
  SELECT b.host_id, b.number, coalesce(b.device, '') AS node
  FROM berth b JOIN w ON b.host_id = w.host_id
  WHERE w.verb = 'start' AND b.vessel_id IS NULL AND b.ready
    AND NOT EXISTS (SELECT FROM berth o WHERE o.vessel_id = w.vessel_id)
  ORDER BY b.number
  LIMIT 1
  FOR UPDATE OF b SKIP LOCKED
),
b AS (
  UPDATE berth SET vessel_id = w.vessel_id, device = NULL  -- the vessel's now, which tells of it
  FROM waiting, w
  WHERE berth.host_id = waiting.host_id AND berth.number = waiting.number
  RETURNING berth.number
)
SELECT w.id, w.verb, w.host_id, w.vessel_id, w.attempt, w.generation, w.tries, w.request,
       h.name AS host,
       coalesce((SELECT number FROM b),
                (SELECT number FROM berth o WHERE o.vessel_id = w.vessel_id)) AS berth,
       (SELECT node FROM waiting) AS node,
       v.name, v.state, v.save, coalesce(v.image, i.image) AS image, v.wants_digest AS digest, w.build_id,
       v.env, v.millicpus, v.memory_mib, v.shm_mib, v.gpus AS n_gpus,
       o.login, o.uid, host(a.ipv4) AS kept_ipv4, v.device, v.home_from,
       coalesce(g.uuids, '{}') AS gpu_uuids, coalesce(g.cards, '{}') AS cards
FROM w
LEFT JOIN host h ON h.id = w.host_id
LEFT JOIN vessel v ON v.id = w.vessel_id
LEFT JOIN owner o ON o.id = v.owner_id
LEFT JOIN address a ON (a.owner_id, a.name) = (v.owner_id, v.name)
LEFT JOIN image_build i ON i.id = w.build_id
LEFT JOIN LATERAL (
  SELECT array_agg(uuid ORDER BY idx) AS uuids, array_agg(DISTINCT coalesce(parent, uuid)) AS cards
  FROM gpu
  WHERE gpu.host_id = v.host_id AND gpu.vessel_id = coalesce(v.shares_id, v.id) AND NOT simulated
) g ON true
