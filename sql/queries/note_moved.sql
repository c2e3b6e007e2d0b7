-- A vessel that was to be created again elsewhere has been, or cannot be: then its owner is told.
-- Parameters: id uuid, refused text (why not; NULL: it was). Zero rows: it was noted before.
WITH v AS (
  UPDATE vessel SET moves = false WHERE id = %(id)s::uuid AND moves
  RETURNING id, owner_id, name, attempt, host_id, saved_image IS NOT NULL AS saved
),
e AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
  SELECT 'not_moved', owner_id, id, attempt, jsonb_build_object('reason', %(refused)s::text), %(request)s::text
  FROM v WHERE %(refused)s::text IS NOT NULL
),
m AS (
  INSERT INTO message (owner_id, kind, body)
  SELECT v.owner_id, 'draining',
         jsonb_build_object('host', h.name, 'vessels', jsonb_build_array(v.name), 'saved', v.saved,
                            'refused', %(refused)s::text)
  FROM v JOIN host h ON h.id = v.host_id WHERE %(refused)s::text IS NOT NULL
)
SELECT id FROM v
