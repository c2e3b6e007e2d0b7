-- Where the GPUs of each host are measured; simulated ones are not.
-- Parameters: none. Zero rows: nowhere.
SELECT h.name AS host, h.ssh_address, h.exporter
FROM host h
WHERE h.removed_at IS NULL AND h.exporter IS DISTINCT FROM 'none'
  AND EXISTS (SELECT FROM gpu g WHERE g.host_id = h.id AND NOT g.removed AND NOT g.simulated)
ORDER BY h.name
