-- What was in a vessel is an image now, or could not be made one.
-- Parameters: id uuid, attempt int, image text (NULL: it could not), reason text (why, then).
-- Zero rows: it is not stopping, or this is another attempt.
WITH v AS (
  UPDATE vessel SET saved_image = coalesce(%(image)s::text, saved_image), save = false
  WHERE id = %(id)s::uuid AND attempt = %(attempt)s::int AND state = 'stopping'
  RETURNING id, owner_id, attempt, host_id
),
i AS (
  INSERT INTO image_on_host (image, host_id, vessel_image, base)
  SELECT %(image)s::text, host_id, true, NULL FROM v WHERE %(image)s::text IS NOT NULL
  ON CONFLICT DO NOTHING
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
SELECT CASE WHEN %(image)s::text IS NULL THEN 'not_saved' ELSE 'saved' END, owner_id, id, attempt,
       jsonb_strip_nulls(jsonb_build_object('reason', %(reason)s::text)), %(request)s::text
FROM v
RETURNING vessel_id
