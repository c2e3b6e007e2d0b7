-- Whether a vessel that waits would fit somewhere now, and so waits only because somebody else had the
-- rows locked. One that waits behind others of its shape is served in its turn.
-- Parameters: id uuid. Zero rows: it waits no longer, waits its turn, or nothing fits.
SELECT v.id
FROM vessel v
WHERE v.id = %(id)s::uuid
  AND v.waiting
  AND NOT EXISTS (
    SELECT FROM vessel q
    WHERE q.waiting AND q.shape = v.shape AND (q.created_at, q.id) < (v.created_at, v.id))
  AND EXISTS (
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
