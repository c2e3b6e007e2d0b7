-- Let a GPU be given again that was set aside: its reason is looked at and let pass, another counts again.
-- A reason is a card's: with a slice go the others of its card.
-- Parameters: host text, index int. Zero rows: no such GPU, or nothing keeps it back but being gone.
-- Locks: the host's row, then the card and its counter.
WITH h AS MATERIALIZED (
  SELECT id, name FROM host WHERE name = %(host)s::text AND removed_at IS NULL FOR NO KEY UPDATE
),
b AS MATERIALIZED (
  SELECT g.id, g.ill
  FROM h
  JOIN gpu one ON one.host_id = h.id AND one.idx = %(index)s::int AND NOT one.removed
  JOIN gpu g ON g.host_id = h.id AND coalesce(g.parent, g.uuid) = coalesce(one.parent, one.uuid)
  WHERE NOT g.removed AND g.ill NOT LIKE 'gone:%%'
  FOR NO KEY UPDATE OF g  -- else it may be as it was before whoever we waited for
),
u AS (
  UPDATE gpu g SET ill = NULL, accepted = b.ill FROM b WHERE g.id = b.id
  RETURNING g.id, g.uuid, g.idx, g.host_id, g.model, g.memory_mib, g.vessel_id, b.ill
),
n AS (
  SELECT host_id, model, memory_mib, count(*) AS freed FROM u WHERE vessel_id IS NULL
  GROUP BY host_id, model, memory_mib
),
c AS (
  UPDATE gpu_count c SET n_free = c.n_free + n.freed
  FROM n WHERE (c.host_id, c.model, c.memory_mib) = (n.host_id, n.model, n.memory_mib)
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
SELECT uuid, ill FROM u ORDER BY idx <> %(index)s::int, idx
