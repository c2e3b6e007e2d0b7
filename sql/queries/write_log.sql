-- Keep the last lines of a vessel's log. Nothing takes the place of no lines that are kept: whoever
-- looks after the container is gone finds none.
-- Parameters: id uuid, text text. Zero rows: no such vessel.
INSERT INTO vessel_log (vessel_id, text) SELECT id, %(text)s::text FROM vessel WHERE id = %(id)s::uuid
ON CONFLICT (vessel_id) DO UPDATE
SET text = coalesce(nullif(EXCLUDED.text, ''), vessel_log.text), at = clock_timestamp()
RETURNING vessel_id
