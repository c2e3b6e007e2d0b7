-- Every host, what it has and what of it is free.
-- Parameters: none. Zero rows: there is none.
SELECT h.id, h.name, h.open, h.ill, h.simulate IS NOT NULL AS simulated, h.docker_version, h.cpus,
       h.n_gpus, h.millicpus, h.millicpus_free, h.memory_mib, h.memory_free_mib, h.address,
       h.ssh_user, h.ssh_address, h.ssh_port, h.seen_at,
       (SELECT count(*) FROM gpu g WHERE g.host_id = h.id AND g.vessel_id IS NULL) AS gpus_free
FROM host h ORDER BY h.name
