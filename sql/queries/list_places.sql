-- Every host as a place for a vessel of one owner, with its cards by model and size: what drc.plan
-- judges by.
-- Parameters: owner_id bigint, image text (NULL: it does not matter). Zero rows: there is no host.
SELECT h.id, h.name, h.queues, h.probed, h.committed, h.cordoned, h.ill, h.n_gpus,
       h.millicpus, h.millicpus_free, h.memory_mib, h.memory_free_mib,
       m.host_id IS NOT NULL AS has_home, m.mib AS home_mib, i.host_id IS NOT NULL AS has_image,
       coalesce(c.cards, '[]') AS cards
FROM host h
LEFT JOIN home m ON m.host_id = h.id AND m.owner_id = %(owner_id)s::bigint
LEFT JOIN image_on_host i ON i.host_id = h.id AND i.image = %(image)s::text
LEFT JOIN LATERAL (
  SELECT jsonb_agg(jsonb_build_object('model', c.model, 'memory_mib', c.memory_mib,
           'whole', k.whole, 'present', c.n_all, 'free', c.n_free)) AS cards
  FROM gpu_count c JOIN gpu_kind k ON k.id = c.kind_id
  WHERE c.host_id = h.id AND c.model <> 'none'
) c ON true
WHERE h.removed_at IS NULL
ORDER BY h.id
