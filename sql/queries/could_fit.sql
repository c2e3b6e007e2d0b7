-- Whether any host could hold a wish if nobody else had anything. A closed one may be open again.
-- Parameters: queues text[], gpus smallint, models text[], gpu_memory_mib int, millicpus int,
--   memory_mib int, host_id int; as in reserve_vessel. Zero rows: none could.
SELECT 1 AS yes
FROM gpu_kind k
JOIN gpu_count c ON c.kind_id = k.id
JOIN host h ON h.id = c.host_id
WHERE k.queues && %(queues)s::text[]
  AND CASE WHEN %(gpus)s::int = 0 THEN k.model = 'none'
           WHEN %(models)s::text[] IS NULL THEN k.whole
           ELSE k.model = ANY (%(models)s::text[]) END
  AND c.memory_mib >= %(gpu_memory_mib)s::int
  AND c.n_all >= %(gpus)s::int
  AND h.probed AND h.committed AND h.removed_at IS NULL
  AND h.millicpus >= coalesce(%(millicpus)s::int, 0)
  AND h.memory_mib >= coalesce(%(memory_mib)s::int, 0)
  AND (%(host_id)s::int IS NULL OR h.id = %(host_id)s::int)
LIMIT 1
