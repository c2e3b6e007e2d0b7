-- What became of a host, and who changed it, the newest first.
-- Parameters: name text, most int. Zero rows: nothing did so far.
(SELECT t.began_at AS at, 'trouble' AS kind, NULL AS who,
        jsonb_build_object('what', t.kind, 'gpu', g.idx, 'reason', t.detail, 'ended_at', t.ended_at) AS data
 FROM trouble t JOIN host h ON h.id = t.host_id LEFT JOIN gpu g ON g.id = t.gpu_id
 WHERE h.name = %(name)s::text ORDER BY t.began_at DESC LIMIT %(most)s::int)
UNION ALL
(SELECT at, kind, NULL, data FROM event
 WHERE kind IN ('host_ill', 'host_changed') AND data->>'host' = %(name)s::text
 ORDER BY at DESC LIMIT %(most)s::int)
UNION ALL
(SELECT at, coalesce(detail->>'verb', action), actor->>'who', detail - 'verb' FROM audit
 WHERE action = 'hosts:write' AND target = %(name)s::text
 ORDER BY at DESC LIMIT %(most)s::int)
ORDER BY at DESC
LIMIT %(most)s::int
