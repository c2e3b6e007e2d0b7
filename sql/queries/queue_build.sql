-- Have a conductor make an image ready for vessels, on a host that has it if no host is named.
-- Parameters: owner_id bigint, image text, host_id int (NULL: any that is open).
-- Zero rows: no host is open, or the owner has a build going.
WITH h AS MATERIALIZED (
  SELECT h.id FROM host h
  LEFT JOIN image_on_host i ON i.host_id = h.id AND i.image = %(image)s::text
  WHERE h.open AND (%(host_id)s::int IS NULL OR h.id = %(host_id)s::int)
    AND NOT EXISTS (SELECT FROM image_build b JOIN outbox o ON o.build_id = b.id
                    WHERE b.owner_id = %(owner_id)s::bigint)
  ORDER BY i.image IS NULL, h.id
  LIMIT 1
),
b AS (
  INSERT INTO image_build (owner_id, host_id, image)
  SELECT %(owner_id)s::bigint, h.id, %(image)s::text FROM h
  RETURNING id, host_id, image
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'images:write', image,
         jsonb_build_object('host', host_id)
  FROM b
)
INSERT INTO outbox (verb, host_id, build_id, request) SELECT 'layer', host_id, id, %(request)s::text FROM b
RETURNING build_id AS id
