-- The vessel that is to be served next: of those that would fit somewhere now the one that has waited
-- longest. Vessels that ask for the same are looked at once, by the first of them.
-- Parameters: skip uuid[] (not these, nor those behind them). Zero rows: nobody who waits fits.
WITH RECURSIVE line AS (
  (SELECT id, shape, created_at FROM vessel
   WHERE waiting ORDER BY shape, created_at, id LIMIT 1)
  UNION ALL
  SELECT n.id, n.shape, n.created_at
  FROM line l
  CROSS JOIN LATERAL (
    SELECT v.id, v.shape, v.created_at FROM vessel v
    WHERE v.waiting AND v.shape > l.shape
    ORDER BY v.shape, v.created_at, v.id LIMIT 1
  ) n
)
SELECT f.id
FROM (SELECT id FROM line WHERE NOT id = ANY (%(skip)s::uuid[]) ORDER BY created_at, id) f
JOIN vessel v ON v.id = f.id
WHERE EXISTS (
  SELECT FROM gpu_kind k
  CROSS JOIN LATERAL (
    SELECT FROM gpu_count c
    CROSS JOIN LATERAL (
      SELECT FROM host h
      WHERE h.id = c.host_id
        AND h.millicpus_free >= coalesce(v.wants_millicpus, h.millicpus_per_gpu * v.gpus)
        AND h.memory_free_mib >= coalesce(v.wants_memory_mib, h.memory_per_gpu_mib * v.gpus)
      OFFSET 0
    ) h
    WHERE c.open
      AND c.kind_id = k.id
      AND c.memory_mib >= v.gpu_memory_mib
      AND c.n_free >= v.gpus
      AND c.host_id BETWEEN coalesce(v.wants_host_id, 0) AND coalesce(v.wants_host_id, 2147483647)
    LIMIT 1
  ) fits
  WHERE k.queues && v.queues
    AND CASE WHEN v.gpus = 0 THEN k.model = 'none'
             WHEN v.models IS NULL THEN k.whole
             ELSE k.model = ANY (v.models) END)
ORDER BY v.created_at, v.id
LIMIT 1
