-- The cards of a host as the books have them, and what is suspected of each; a slice counts as its
-- card, on which the look is.
-- Parameters: host_id int. Zero rows: it has no GPU, but for simulated ones.
SELECT coalesce(g.parent, g.uuid) AS uuid, min(g.idx) AS index, max(g.accepted) AS accepted,
       coalesce(jsonb_object_agg(d.sign, d.value) FILTER (WHERE d.sign IS NOT NULL), '{}') AS signs
FROM gpu g
LEFT JOIN doubt d ON d.gpu_id = g.id
WHERE g.host_id = %(host_id)s::int AND NOT g.removed AND NOT g.simulated
GROUP BY 1
ORDER BY 2
