-- Say that a vessel waits, when the statement that inserted it kept silent: it was contended then.
-- Parameters: id uuid. Zero rows: it waits no longer, or it was said.
INSERT INTO event (kind, owner_id, vessel_id, attempt, data)
SELECT v.state, v.owner_id, v.id, v.attempt, jsonb_build_object('name', v.name)
FROM vessel v
WHERE v.id = %(id)s::uuid AND v.state = 'queued'
  AND NOT EXISTS (SELECT FROM event e WHERE e.vessel_id = v.id AND e.kind = 'queued')
RETURNING id
