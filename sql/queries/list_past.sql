-- Who held which GPUs in the past, by vessel. Parameters: since timestamptz. Zero rows: nobody.
SELECT v.id, v.name, o.login AS owner, coalesce(o.name, '') AS called, v.queues, v.ends_at, v.state,
       array_agg(DISTINCT g.measured) AS gpus, min(h.from_at) AS from_at,
       CASE WHEN bool_or(h.until_at IS NULL) THEN now() ELSE max(h.until_at) END AS until_at
FROM held h
JOIN vessel v ON v.id = h.vessel_id
JOIN owner o ON o.id = v.owner_id
JOIN gpu g ON g.id = h.gpu_id
WHERE coalesce(h.until_at, now()) > %(since)s::timestamptz
GROUP BY v.id, o.login, o.name
ORDER BY min(h.from_at), v.id
