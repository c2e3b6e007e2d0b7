-- Set GPUs aside, or let them be given again, as a look found each. One that is gone stays so until a
-- look at the whole host finds it; one whose very reason an operator let pass is well.
-- Parameters: host_id int, found jsonb (by card's UUID why it is ill; null: it is well).
-- Zero rows: none is otherwise than it was. Locks: the host's row, then cards and counters.
WITH h AS MATERIALIZED (
  SELECT id, open, queues FROM host
  WHERE id = %(host_id)s::int AND removed_at IS NULL
  FOR NO KEY UPDATE
),
seen AS MATERIALIZED (
  SELECT key AS uuid, value AS why FROM jsonb_each_text(%(found)s::jsonb)
),
b AS MATERIALIZED (
  SELECT g.id, g.ill AS before, CASE WHEN s.why IS DISTINCT FROM g.accepted THEN s.why END AS after,
         g.accepted AS was_accepted,
         -- while somebody has it nobody can tell what was left on it
         CASE WHEN s.why IS NOT NULL OR g.vessel_id IS NOT NULL THEN g.accepted END AS accepted
  FROM h JOIN gpu g ON g.host_id = h.id
  JOIN seen s ON s.uuid = coalesce(g.parent, g.uuid)
  WHERE NOT g.removed AND (g.ill IS NULL OR g.ill NOT LIKE 'gone:%%')
  FOR NO KEY UPDATE OF g  -- else it may be as it was before whoever we waited for
),
u AS (
  UPDATE gpu g SET ill = b.after, accepted = b.accepted FROM b
  WHERE g.id = b.id AND (b.after, b.accepted) IS DISTINCT FROM (b.before, b.was_accepted)
  RETURNING g.id, g.uuid, g.idx, g.ill, g.vessel_id, g.model, g.memory_mib, b.before
),
n AS (
  SELECT model, memory_mib, sum((ill IS NULL)::int - (before IS NULL)::int) AS free
  FROM u WHERE vessel_id IS NULL
  GROUP BY model, memory_mib
),
c AS (
  UPDATE gpu_count c SET n_free = c.n_free + n.free  -- who needs more than are left waits for it
  FROM h, n
  WHERE (c.host_id, c.model, c.memory_mib) = (h.id, n.model, n.memory_mib) AND n.free <> 0
)
SELECT uuid, idx AS index, ill FROM u WHERE ill IS DISTINCT FROM before
