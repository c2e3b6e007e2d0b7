-- Vessels as people see them, newest first.
-- Parameters: id uuid (NULL: any), owner_id bigint (NULL: everybody's), ended boolean (with the
--   buried and failed ones too), most int. Zero rows: none.
SELECT v.id, v.name, o.login AS owner, o.uid, v.owner_id, v.state, v.reason, v.outcome, v.attempt,
       v.gpus AS n_gpus, v.models, v.gpu_memory_mib, v.wants_millicpus, v.wants_memory_mib,
       w.name AS wants_host, v.queues, v.shm_mib, v.image, v.image_digest, v.wants_digest,
       v.save, v.saved_image, v.env, v.lifetime,
       v.host_id, h.name AS host, v.millicpus, v.memory_mib, v.ssh_address, v.ssh_port,
       host(a.ipv6) AS ipv6, a.dns_name, v.device,
       (SELECT f.name FROM host f WHERE f.id = v.home_from) AS home_from,
       s.name AS shares, v.created_at, v.state_since,
       CASE WHEN v.living THEN least(v.ends_at, l.lives_until) ELSE v.ends_at END AS ends_at,
       coalesce(
         (SELECT jsonb_agg(jsonb_build_object('uuid', g.uuid, 'name', g.name, 'model', g.model,
                   'memory_mib', g.memory_mib, 'index', g.idx, 'simulated', g.simulated)
                   ORDER BY g.idx)
          FROM gpu g
          WHERE v.living AND g.host_id = v.host_id AND g.vessel_id = coalesce(v.shares_id, v.id)), '[]') AS gpus
FROM vessel v
JOIN owner o ON o.id = v.owner_id
LEFT JOIN host h ON h.id = v.host_id
LEFT JOIN host w ON w.id = v.wants_host_id
LEFT JOIN vessel s ON s.id = v.shares_id
LEFT JOIN idle l ON l.vessel_id = v.id
LEFT JOIN address a ON v.device IS NOT NULL AND (a.owner_id, a.name) = (v.owner_id, v.name)
WHERE (%(id)s::uuid IS NULL OR v.id = %(id)s::uuid)
  AND (%(owner_id)s::bigint IS NULL OR v.owner_id = %(owner_id)s::bigint)
  AND (%(ended)s::boolean OR v.living)
ORDER BY v.created_at DESC, v.id
LIMIT %(most)s::int
