-- A build of an image: how it goes, and what it said so far. One whose work was taken out with its
-- host has failed.
-- Parameters: id bigint. Zero rows: there is none.
SELECT b.id, b.image, h.name AS host, b.log, b.digest, b.layer, b.begun_at, b.ended_at,
       CASE WHEN gone.it THEN 'failed' ELSE b.state END AS state,
       CASE WHEN gone.it THEN 'Its host was removed.' ELSE b.reason END AS reason
FROM image_build b
CROSS JOIN LATERAL (
  SELECT b.state = 'building'
         AND NOT EXISTS (SELECT FROM outbox o WHERE o.build_id = b.id) AS it
) gone
JOIN host h ON h.id = b.host_id
WHERE b.id = %(id)s::bigint
