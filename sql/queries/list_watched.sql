-- The cards that measurements are to be had of, and what is suspected of each so far; slices count as
-- their card.
-- Parameters: none. Zero rows: there is none, but for simulated ones and those of hosts without exporter.
SELECT coalesce(g.parent, g.uuid) AS uuid,
       coalesce(jsonb_object_agg(d.sign, d.value) FILTER (WHERE d.sign IS NOT NULL), '{}') AS signs
FROM gpu g
JOIN host h ON h.id = g.host_id AND h.removed_at IS NULL AND h.exporter IS DISTINCT FROM 'none'
LEFT JOIN doubt d ON d.gpu_id = g.id
WHERE NOT g.removed AND NOT g.simulated
GROUP BY 1
