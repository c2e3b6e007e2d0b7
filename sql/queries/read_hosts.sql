-- Every host, what it has and what of it is free.
-- Parameters: name text (NULL: every one). Zero rows: there is none.
SELECT h.id, h.name, h.open, h.probed, h.committed, h.cordoned, h.ill, h.shown_host_key,
       h.ssh_host_key, h.simulate IS NOT NULL AS simulated, h.docker_version, h.cpus,
       h.n_gpus, h.millicpus, h.millicpus_free, h.memory_mib, h.memory_free_mib, h.address,
       h.ssh_user, h.ssh_address, h.ssh_port, h.seen_at, h.looked_at, h.drain_at,
       h.drain_why, h.drain_moves, h.queues, h.facts, h.strangers,
       h.exporter, h.job_mapping, h.cordon_on_reboot,
       (SELECT count(*) FROM gpu g WHERE g.host_id = h.id AND h.open AND NOT g.removed
          AND g.vessel_id IS NULL AND g.ill IS NULL) AS gpus_free,
       (SELECT count(*) FROM gpu g
        WHERE g.host_id = h.id AND NOT g.removed AND g.ill IS NOT NULL) AS gpus_ill,
       (SELECT count(*) FROM vessel v WHERE v.host_id = h.id
          AND v.living) AS vessels,
       (SELECT count(*) FROM (
          SELECT v.owner_id FROM vessel v
          WHERE v.home_from = h.id AND v.living
          UNION SELECT v.owner_id FROM vessel v WHERE v.moves AND v.host_id = h.id) o) AS homes_leaving
FROM host h
WHERE h.removed_at IS NULL AND (%(name)s::text IS NULL OR h.name = %(name)s::text)
ORDER BY h.name
