-- Add to what a build has said. Of a long one the end is kept.
-- Parameters: id bigint, text text. Zero rows: there is none that goes on.
UPDATE image_build SET log = right(log || %(text)s::text, 1000000)
WHERE id = %(id)s::bigint AND state = 'building'
RETURNING id
