-- Let a GPU be given again that was set aside: its reason is looked at and let pass, another counts again.
-- Parameters: host text, index int. Zero rows: no such GPU, or nothing keeps it back but being gone.
-- Locks: the host's row, then the card and its counter.
WITH h AS MATERIALIZED (
  SELECT id, name FROM host WHERE name = %(host)s::text AND removed_at IS NULL FOR NO KEY UPDATE
),
b AS MATERIALIZED (
  SELECT g.id, g.ill FROM gpu g JOIN h ON h.id = g.host_id
  WHERE g.idx = %(index)s::int AND NOT g.removed AND g.ill NOT LIKE 'gone:%%'
),
u AS (
  UPDATE gpu g SET ill = NULL, accepted = b.ill FROM b WHERE g.id = b.id
  RETURNING g.id, g.uuid, g.host_id, g.model, g.memory_mib, g.vessel_id, b.ill
),
c AS (
  UPDATE gpu_count c SET n_free = c.n_free + 1
  FROM u WHERE u.vessel_id IS NULL AND (c.host_id, c.model, c.memory_mib) = (u.host_id, u.model, u.memory_mib)
),
t AS (
  UPDATE trouble SET ended_at = coalesce(ended_at, clock_timestamp()) FROM u
  WHERE trouble.gpu_id = u.id AND trouble.over_at IS NULL
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', h.name,
         jsonb_build_object('verb', 'release', 'gpu', u.uuid, 'ill', u.ill)
  FROM h CROSS JOIN u
)
SELECT uuid, ill FROM u
