-- The real GPUs of a host, and who holds each.
-- Parameters: host_id int. Zero rows: it has none.
SELECT g.idx AS index, g.parent, g.instance, v.name AS vessel, o.login AS owner
FROM gpu g
LEFT JOIN vessel v ON v.id = g.vessel_id
LEFT JOIN owner o ON o.id = v.owner_id
WHERE g.host_id = %(host_id)s::int AND NOT g.removed AND NOT g.simulated
ORDER BY g.idx
