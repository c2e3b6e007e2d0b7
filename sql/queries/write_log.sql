-- Keep the last lines of a vessel's log.
-- Parameters: id uuid, text text.
INSERT INTO vessel_log (vessel_id, text) VALUES (%(id)s::uuid, %(text)s::text)
ON CONFLICT (vessel_id) DO UPDATE SET text = EXCLUDED.text, at = clock_timestamp()
RETURNING vessel_id
