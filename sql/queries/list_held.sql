-- Each held GPU and who holds it, by what its measurements bear: the UUID, and of a slice that of its
-- card and which one it is there.
-- Parameters: none. Zero rows: none is held.
SELECT CASE WHEN g.instance IS NULL THEN g.uuid ELSE coalesce(g.parent, g.uuid) END AS uuid,
       CASE WHEN g.parent IS NULL THEN NULL ELSE g.instance END AS instance,
       g.model, v.name AS vessel, o.login AS owner, h.name AS host,
       -- the first of the queues asked for that led to this host
       coalesce((SELECT q FROM unnest(v.queues) WITH ORDINALITY AS a (q, place)
                 WHERE q = ANY (h.queues) ORDER BY place LIMIT 1), v.queues[1]) AS queue
FROM gpu g
JOIN vessel v ON v.id = g.vessel_id
JOIN owner o ON o.id = v.owner_id
JOIN host h ON h.id = g.host_id
WHERE NOT g.removed
ORDER BY h.name, g.idx
