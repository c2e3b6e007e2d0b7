-- What the metrics count: living vessels, work, hosts, GPUs, strangers on them, what was mended.
-- Parameters: none.
SELECT 'vessel' AS what, state AS label, count(*) AS n FROM vessel
WHERE living GROUP BY state
UNION ALL
SELECT 'work', verb, count(*) FROM outbox GROUP BY verb
UNION ALL
SELECT 'host', CASE WHEN ill IS NOT NULL THEN 'ill' WHEN open THEN 'open' ELSE 'closed' END, count(*)
FROM host WHERE removed_at IS NULL GROUP BY 2
UNION ALL
SELECT 'gpu', CASE WHEN vessel_id IS NOT NULL THEN 'held' WHEN ill IS NOT NULL THEN 'ill' ELSE 'free' END,
       count(*)
FROM gpu WHERE NOT removed GROUP BY 2
UNION ALL
SELECT 'stranger', name, jsonb_array_length(strangers) FROM host WHERE removed_at IS NULL
UNION ALL
SELECT 'mended', what, n FROM mended
