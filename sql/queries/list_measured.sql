-- The GPUs that a vessel has, as measurements call them, and since when it has them. What they did
-- before was somebody else's.
-- Parameters: id uuid. Zero rows: it has none.
SELECT g.idx AS index, g.uuid, g.name, g.model, g.memory_mib, g.simulated, g.measured,
       greatest(h.from_at, v.created_at) AS since
FROM vessel v
JOIN gpu g ON g.host_id = v.host_id AND g.vessel_id = coalesce(v.shares_id, v.id)
JOIN held h ON h.gpu_id = g.id AND h.until_at IS NULL
WHERE v.id = %(id)s::uuid
ORDER BY g.idx
