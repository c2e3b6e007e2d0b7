-- Living vessels as the undertaker judges them. Simulated GPUs count: something may play their use.
-- One whose GPUs others share ends with them: what keeps one of them keeps it, and it is as young as
-- the youngest.
-- Parameters: none. Zero rows: nobody lives.
SELECT v.id, v.owner_id, v.name, o.login AS owner, coalesce(o.name, '') AS called, v.state,
       v.ends_at, v.queues, coalesce(g.measured, '{}') AS gpus,
       greatest(coalesce(g.from_at, v.created_at), s.created_at) AS started_at,
       coalesce(g.from_at, v.created_at) AS born_at,
       coalesce(i.rung, 'active') AS rung, i.warned_at, i.called_at, i.kept_until, i.kept_at,
       greatest(i.kept_until, s.kept_until) AS any_kept_until, coalesce(i.keeps, 0) AS keeps,
       m.sent_at AS told_at
FROM vessel v
JOIN owner o ON o.id = v.owner_id
LEFT JOIN idle i ON i.vessel_id = v.id
LEFT JOIN LATERAL (
  SELECT m.sent_at FROM message m
  WHERE m.vessel_id = v.id AND m.kind = 'warned' AND m.judged_at = i.warned_at
  ORDER BY m.id DESC LIMIT 1
) m ON true
LEFT JOIN LATERAL (
  SELECT array_agg(c.measured ORDER BY c.idx) AS measured, min(h.from_at) AS from_at
  FROM gpu c LEFT JOIN held h ON h.gpu_id = c.id AND h.until_at IS NULL AND h.vessel_id = v.id
  WHERE c.host_id = v.host_id AND c.vessel_id = coalesce(v.shares_id, v.id)
) g ON true
LEFT JOIN LATERAL (
  SELECT max(x.created_at) AS created_at, max(x.kept_until) AS kept_until
  FROM vessel x WHERE x.shares_id = v.id AND x.living
) s ON true
WHERE v.living AND v.state <> 'stopping'
ORDER BY v.ends_at, v.id
