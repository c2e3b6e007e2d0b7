-- The most that any one host has of each model and size, whoever holds it now. A cordoned or ill
-- host counts: it may be open again.
-- Parameters: none. Zero rows: no host.
SELECT h.name AS host, h.millicpus, h.memory_mib, h.n_gpus, g.model, g.memory_mib AS gpu_memory_mib,
       count(g.id) AS gpus
FROM host h LEFT JOIN gpu g ON g.host_id = h.id
WHERE h.probed AND h.committed
GROUP BY h.id, g.model, g.memory_mib
