-- What a conductor found a host to be; it is well. A card that is gone is not forgotten: it is ill, and
-- whoever holds it goes on holding it. What else changed is kept in its history.
-- Parameters: id int, docker_version text, cpus int, millicpus int, memory_mib int, facts jsonb,
--   gpus jsonb (uuid, index, name, model, memory_mib, simulated, parent, instance,
--   island).
-- Zero rows: no such host.
-- Locks: the host's row, so that nobody takes or gives back its cards meanwhile, then cards, counters.
WITH seen AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(%(gpus)s::jsonb)
    AS g (uuid text, index smallint, name text, model text, memory_mib int, simulated boolean,
          parent text, instance int, island smallint)
),
h AS MATERIALIZED (
  SELECT id, name, queues, open, probed, facts, docker_version, cordon_on_reboot FROM host
  WHERE id = %(id)s::int AND removed_at IS NULL
  FOR NO KEY UPDATE
),
said AS MATERIALIZED (
  SELECT k.key, h.facts->>k.key AS before, %(facts)s::jsonb->>k.key AS after
  FROM h CROSS JOIN unnest(ARRAY['driver', 'kernel', 'system', 'boot']) AS k (key)
  UNION ALL
  SELECT 'docker', docker_version, %(docker_version)s::text FROM h
),
other AS (
  INSERT INTO event (kind, data)
  SELECT 'host_changed', jsonb_build_object('host', h.name, 'changes', jsonb_object_agg(
           said.key, jsonb_build_array(said.before, said.after)))
  FROM h CROSS JOIN said
  WHERE h.probed AND said.before <> said.after
  GROUP BY h.name
),
gone AS (
  UPDATE gpu g SET ill = 'gone: the host''s last look did not find it'
  FROM h
  WHERE g.host_id = h.id AND NOT g.removed AND g.ill IS NULL
    AND NOT EXISTS (SELECT FROM seen s WHERE s.uuid = g.uuid)
  RETURNING g.model, g.memory_mib, g.vessel_id
),
gone_ill AS (
  UPDATE gpu g SET ill = 'gone: the host''s last look did not find it'
  FROM h
  WHERE g.host_id = h.id AND NOT g.removed AND g.ill NOT LIKE 'gone:%%'
    AND NOT EXISTS (SELECT FROM seen s WHERE s.uuid = g.uuid)
  RETURNING g.model, g.memory_mib
),
back AS (
  UPDATE gpu g SET ill = NULL, idx = s.index, island = s.island, instance = s.instance
  FROM h, seen s
  WHERE g.host_id = h.id AND NOT g.removed AND s.uuid = g.uuid AND g.ill LIKE 'gone:%%'
  RETURNING g.model, g.memory_mib, g.vessel_id
),
renumbered AS (
  UPDATE gpu g SET idx = s.index, island = s.island, instance = s.instance
  FROM h, seen s
  WHERE g.host_id = h.id AND NOT g.removed AND s.uuid = g.uuid
    AND (g.ill IS NULL OR g.ill NOT LIKE 'gone:%%')
    AND (g.idx, g.island, g.instance) IS DISTINCT FROM (s.index, s.island, s.instance)
),
moved AS (
  -- its host's look did not find it, and nobody holds it there: it was put into this one
  UPDATE gpu g SET removed = true
  FROM h, seen s
  WHERE g.host_id <> h.id AND g.uuid = s.uuid AND NOT g.removed AND g.vessel_id IS NULL
    AND g.ill LIKE 'gone:%%'
  RETURNING g.uuid
),
added AS (
  INSERT INTO gpu (host_id, uuid, idx, name, model, memory_mib, simulated, parent, instance,
                   island)
  SELECT h.id, s.uuid, s.index, s.name, s.model, s.memory_mib, s.simulated, s.parent, s.instance,
         s.island
  FROM h, seen s
  WHERE NOT EXISTS (SELECT FROM gpu g WHERE g.uuid = s.uuid AND g.host_id = h.id AND NOT g.removed)
    AND (SELECT count(*) FROM moved) >= 0  -- after it
  ORDER BY s.index
  RETURNING model, memory_mib
),
kind AS (
  INSERT INTO gpu_kind (model, queues, whole)
  SELECT m.model, h.queues, m.whole
  FROM h, (SELECT model, bool_and(parent IS NULL) AS whole FROM seen GROUP BY model
           UNION ALL SELECT 'none', false) m
  ORDER BY m.model  -- as everybody does, so that no two lock each other out
  ON CONFLICT (model, queues) DO UPDATE SET whole = EXCLUDED.whole
  RETURNING id, model
),
changed AS (
  SELECT model, memory_mib, sum(free) AS free, sum(present) AS present
  FROM (
    SELECT model, memory_mib, 1 AS free, 1 AS present FROM added
    UNION ALL
    SELECT model, memory_mib, (vessel_id IS NULL)::int, 1 FROM back
    UNION ALL
    SELECT model, memory_mib, -(vessel_id IS NULL)::int, -1 FROM gone
    UNION ALL
    SELECT model, memory_mib, 0, -1 FROM gone_ill
  ) one
  GROUP BY model, memory_mib
),
c AS (
  MERGE INTO gpu_count c
  USING (
    SELECT h.id, h.open, ch.model, ch.memory_mib, ch.free, ch.present, kind.id AS kind_id
    FROM h, changed ch LEFT JOIN kind ON kind.model = ch.model
    UNION ALL
    SELECT h.id, h.open, 'none', 0, (SELECT count(*) FROM seen), 0, kind.id
    FROM h JOIN kind ON kind.model = 'none'
  ) s
  ON (c.host_id, c.model, c.memory_mib) = (s.id, s.model, s.memory_mib)
  WHEN MATCHED AND (s.model = 'none' OR (s.free, s.present) <> (0, 0)) THEN
    -- tried at first with our snapshot's count, which a burial may have raised since: then again
    UPDATE SET n_free = CASE WHEN s.model = 'none' THEN s.free ELSE greatest(c.n_free + s.free, 0) END,
               n_all = c.n_all + s.present
  WHEN NOT MATCHED THEN
    INSERT (host_id, model, memory_mib, n_free, n_all, kind_id, open)
    VALUES (s.id, s.model, s.memory_mib, s.free, s.present, s.kind_id, s.open)
)
UPDATE host
SET docker_version = %(docker_version)s::text, cpus = %(cpus)s::int, probed = true, ill = NULL,
    n_gpus = (SELECT count(*) FROM seen), facts = %(facts)s::jsonb,
    millicpus_free = millicpus_free + %(millicpus)s::int - millicpus, millicpus = %(millicpus)s::int,
    memory_free_mib = memory_free_mib + %(memory_mib)s::int - memory_mib,
    memory_mib = %(memory_mib)s::int, seen_at = now(), looked_at = clock_timestamp(),
    cordoned = cordoned OR h.cordon_on_reboot AND EXISTS (
      SELECT FROM said WHERE key = 'boot' AND before <> after)
FROM h
WHERE host.id = h.id
RETURNING host.id
