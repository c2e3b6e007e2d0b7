-- Living vessels as the undertaker judges them. Simulated GPUs count: something may play their use.
-- Parameters: none. Zero rows: nobody lives.
SELECT v.id, v.owner_id, v.name, o.login AS owner, coalesce(o.name, '') AS called, v.state,
       v.ends_at, v.queues, coalesce(g.uuids, '{}') AS gpus,
       coalesce(g.from_at, v.created_at) AS started_at,
       coalesce(i.rung, 'active') AS rung, i.warned_at, i.called_at, i.kept_until,
       coalesce(i.keeps, 0) AS keeps, m.sent_at AS told_at
FROM vessel v
JOIN owner o ON o.id = v.owner_id
LEFT JOIN idle i ON i.vessel_id = v.id
LEFT JOIN message m ON m.vessel_id = i.vessel_id AND m.kind = 'warned'
                    AND m.judged_at = i.warned_at
LEFT JOIN LATERAL (
  SELECT array_agg(c.uuid ORDER BY c.idx) AS uuids, min(h.from_at) AS from_at
  FROM gpu c LEFT JOIN held h ON h.gpu_id = c.id AND h.until_at IS NULL AND h.vessel_id = v.id
  WHERE c.vessel_id = coalesce(v.shares_id, v.id)
) g ON true
WHERE v.state NOT IN ('buried', 'failed', 'stopping')
ORDER BY v.ends_at, v.id
