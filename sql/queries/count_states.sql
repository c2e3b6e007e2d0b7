-- How many vessels are in each living state, and how much work lies in the outbox.
-- Parameters: none.
SELECT 'vessel' AS what, state AS label, count(*) AS n FROM vessel
WHERE state NOT IN ('buried', 'failed') GROUP BY state
UNION ALL
SELECT 'work', verb, count(*) FROM outbox GROUP BY verb
UNION ALL
SELECT 'gpu', CASE WHEN vessel_id IS NULL THEN 'free' ELSE 'held' END, count(*) FROM gpu GROUP BY 2
