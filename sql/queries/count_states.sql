-- What the metrics count by one label each: living vessels, work, hosts, who waits, verdicts.
-- Parameters: none.
SELECT 'vessel' AS what, state AS label, count(*)::float8 AS n FROM vessel
WHERE living GROUP BY state
UNION ALL
SELECT 'vessel_since', state, extract(epoch FROM max(clock_timestamp() - state_since)) FROM vessel
WHERE living GROUP BY state
UNION ALL
SELECT 'work', verb, count(*) FROM outbox GROUP BY verb
UNION ALL
-- what nobody took: it is done soon after it is due, unless conductors or hosts are away
SELECT 'work_due', verb, extract(epoch FROM max(clock_timestamp() - run_at)) FROM outbox
WHERE run_at <= clock_timestamp() AND (lease_until IS NULL OR lease_until < now()) GROUP BY verb
UNION ALL
SELECT 'host', CASE WHEN ill IS NOT NULL THEN 'ill' WHEN open THEN 'open' ELSE 'closed' END, count(*)
FROM host WHERE removed_at IS NULL GROUP BY 2
UNION ALL
SELECT 'host_seen', name, extract(epoch FROM seen_at) FROM host
WHERE removed_at IS NULL AND seen_at IS NOT NULL
UNION ALL
SELECT 'gpu_ill', h.name, count(*) FROM gpu g JOIN host h ON h.id = g.host_id
WHERE NOT g.removed AND g.ill IS NOT NULL GROUP BY h.name
UNION ALL
SELECT 'stranger', name, jsonb_array_length(strangers) FROM host WHERE removed_at IS NULL
UNION ALL
SELECT 'mended', what, n FROM mended
UNION ALL
SELECT 'waiting', q.name, count(v.id) FROM queue q
LEFT JOIN vessel v ON v.waiting AND q.name = ANY (v.queues) GROUP BY q.name
UNION ALL
SELECT 'oldest', q.name, coalesce(extract(epoch FROM clock_timestamp() - min(v.created_at)), 0)
FROM queue q LEFT JOIN vessel v ON v.waiting AND q.name = ANY (v.queues) GROUP BY q.name
UNION ALL
SELECT 'verdict', i.verdict, count(*) FROM vessel v JOIN idle i ON i.vessel_id = v.id
WHERE v.living GROUP BY i.verdict
UNION ALL
SELECT 'judged', '', extract(epoch FROM max(i.judged_at)) FROM vessel v JOIN idle i ON i.vessel_id = v.id
WHERE v.living HAVING count(*) > 0
UNION ALL
SELECT 'untold', kind, count(*) FROM message
WHERE sent_at IS NULL AND given_up_at IS NULL GROUP BY kind
