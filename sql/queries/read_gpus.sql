-- Every GPU, where it is and who holds it.
-- Parameters: none. Zero rows: there is none.
SELECT g.uuid, g.idx AS index, g.name, g.model, g.memory_mib, g.simulated, g.parent, g.island,
       g.ill, g.measured, h.open, h.queues, h.name AS host,
       v.name AS vessel, o.login AS owner, v.state
FROM gpu g
JOIN host h ON h.id = g.host_id
LEFT JOIN vessel v ON v.id = g.vessel_id
LEFT JOIN owner o ON o.id = v.owner_id
WHERE NOT g.removed
ORDER BY h.name, g.ill NULLS FIRST, g.idx, g.id
