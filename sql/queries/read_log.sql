-- The last lines kept of a vessel's log.
-- Parameters: id uuid, after timestamptz (NULL: however old). Zero rows: none (yet).
SELECT text, at FROM vessel_log
WHERE vessel_id = %(id)s::uuid AND (%(after)s::timestamptz IS NULL OR at > %(after)s::timestamptz)
