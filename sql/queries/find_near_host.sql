-- A host that fits as well as the best one and has the owner's home, or else the image, where the best
-- has neither. Only a look: reserve_vessel then tries it first.
-- Parameters: owner_id bigint, image text (NULL: every host has it), queues text[], gpus smallint,
--   models text[], gpu_memory_mib int, millicpus int, memory_mib int, host_id int; as in reserve_vessel.
-- Zero rows: there is none.
WITH near AS MATERIALIZED (
  SELECT host_id, max(rank) AS rank
  FROM (
    SELECT host_id, 2 AS rank FROM home WHERE owner_id = %(owner_id)s::bigint
    UNION ALL
    SELECT host_id, 1 FROM image_on_host WHERE image = %(image)s::text
  ) n
  GROUP BY host_id
),
kind AS MATERIALIZED (
  SELECT k.id FROM gpu_kind k
  WHERE EXISTS (SELECT FROM near)
    AND k.queues && %(queues)s::text[]
    AND CASE WHEN %(gpus)s::int = 0 THEN k.model = 'none'
             WHEN %(models)s::text[] IS NULL THEN k.whole
             ELSE k.model = ANY (%(models)s::text[]) END
),
best AS MATERIALIZED (
  SELECT b.*
  FROM kind k
  CROSS JOIN LATERAL (
    SELECT c.host_id, c.memory_mib, c.n_free
    FROM gpu_count c
    CROSS JOIN LATERAL (
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
      AND c.host_id BETWEEN coalesce(%(host_id)s::int, 0) AND coalesce(%(host_id)s::int, 2147483647)
    ORDER BY c.memory_mib, c.n_free, c.host_id
    LIMIT 1
  ) b
  ORDER BY b.memory_mib, b.n_free, b.host_id
  LIMIT 1
)
SELECT n.host_id
FROM best b
JOIN near n ON n.rank > coalesce((SELECT rank FROM near WHERE host_id = b.host_id), 0)
JOIN gpu_count c ON c.host_id = n.host_id AND (c.memory_mib, c.n_free) = (b.memory_mib, b.n_free)
JOIN host h ON h.id = c.host_id
WHERE c.open
  AND c.kind_id IN (SELECT id FROM kind)
  AND h.millicpus_free >= coalesce(%(millicpus)s::int, h.millicpus_per_gpu * %(gpus)s::int)
  AND h.memory_free_mib >= coalesce(%(memory_mib)s::int, h.memory_per_gpu_mib * %(gpus)s::int)
  AND c.host_id BETWEEN coalesce(%(host_id)s::int, 0) AND coalesce(%(host_id)s::int, 2147483647)
ORDER BY n.rank DESC, n.host_id
LIMIT 1
