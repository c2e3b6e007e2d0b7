-- Say that a vessel waits.
-- Parameters: id uuid. Zero rows: it waits no longer, or it was said.
WITH v AS (
  UPDATE vessel SET told = true WHERE id = %(id)s::uuid AND state = 'queued' AND NOT told
  RETURNING id, owner_id, attempt, state, name, request
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
SELECT state, owner_id, id, attempt, jsonb_build_object('name', name), request FROM v
RETURNING vessel_id
