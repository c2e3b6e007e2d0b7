-- The vessels that may compute on each held card of a host; a slice counts as its card.
-- Parameters: host_id int. Zero rows: none is held.
SELECT coalesce(g.parent, g.uuid) AS uuid, array_agg(DISTINCT v.id::text) AS vessels
FROM gpu g
JOIN vessel v ON v.living AND v.host_id = g.host_id AND g.vessel_id IN (v.id, v.shares_id)
WHERE g.host_id = %(host_id)s::int AND NOT g.removed
GROUP BY 1
