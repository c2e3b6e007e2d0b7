-- The most that any one open host has of each model and size, whoever holds it now.
-- Parameters: none. Zero rows: no open host.
SELECT h.name AS host, h.millicpus, h.memory_mib, h.n_gpus, g.model, g.memory_mib AS gpu_memory_mib,
       count(g.id) AS gpus
FROM host h LEFT JOIN gpu g ON g.host_id = h.id
WHERE h.open
GROUP BY h.id, g.model, g.memory_mib
