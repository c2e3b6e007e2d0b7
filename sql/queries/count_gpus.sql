-- How many GPUs of a model are in each state on each host; the states are those of `drc gpus`.
-- Parameters: none. Zero rows: there is none.
SELECT h.name AS host, g.model,
       CASE WHEN g.vessel_id IS NOT NULL THEN 'held' WHEN g.ill IS NOT NULL THEN 'ill'
            WHEN h.open THEN 'free' ELSE 'closed' END AS state,
       count(*) AS n
FROM gpu g JOIN host h ON h.id = g.host_id
WHERE NOT g.removed
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
