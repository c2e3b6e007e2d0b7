-- Where waiting vessels stand in line: first is 1; of several queues the one where they are foremost.
-- Parameters: ids uuid[]. Zero rows: none of them waits.
SELECT id, min(position)::int AS position
FROM (
  SELECT v.id, row_number() OVER (PARTITION BY q.name ORDER BY v.created_at, v.id) AS position
  FROM vessel v CROSS JOIN LATERAL unnest(v.queues) AS q (name)
  WHERE v.waiting
) line
WHERE id = ANY (%(ids)s::uuid[])
GROUP BY id
