-- End a session. Parameters: id uuid, why text. Zero rows: there is none, or it has ended.
UPDATE session SET ended_at = now(), ended_why = %(why)s::text
WHERE id = %(id)s::uuid AND ended_at IS NULL
RETURNING id
