-- Keep the last lines of a vessel's log.
-- Parameters: id uuid, text text. Zero rows: no such vessel.
INSERT INTO vessel_log (vessel_id, text) SELECT id, %(text)s::text FROM vessel WHERE id = %(id)s::uuid
ON CONFLICT (vessel_id) DO UPDATE SET text = EXCLUDED.text, at = clock_timestamp()
RETURNING vessel_id
