-- GPUs that are simulated, for whatever plays their use. Parameters: none. Zero rows: none is.
SELECT g.uuid, g.idx AS index, g.name, g.memory_mib, h.name AS host
FROM gpu g JOIN host h ON h.id = g.host_id
WHERE g.simulated AND NOT g.removed AND h.removed_at IS NULL
ORDER BY h.name, g.idx
