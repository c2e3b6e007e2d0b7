-- A build has ended; what it made is known to be on its host. Ending twice is ending.
-- Parameters: id bigint, digest text, layer text (NULL: none was needed), reason text (NULL: it did
--   not fail). Zero rows: there is none.
WITH b AS (
  UPDATE image_build
  SET state = CASE WHEN %(reason)s::text IS NULL THEN 'built' ELSE 'failed' END,
      digest = %(digest)s::text, layer = %(layer)s::text, reason = %(reason)s::text,
      ended_at = clock_timestamp()
  WHERE id = %(id)s::bigint
  RETURNING id, image, host_id
),
i AS (
  INSERT INTO image_on_host (image, host_id, vessel_image, base)
  SELECT image, host_id, %(layer)s::text IS NULL, NULL FROM b
  WHERE %(reason)s::text IS NULL
  UNION ALL
  SELECT %(layer)s::text, host_id, true, image FROM b
  WHERE %(reason)s::text IS NULL AND %(layer)s::text IS NOT NULL
  ON CONFLICT DO NOTHING
)
SELECT id FROM b
