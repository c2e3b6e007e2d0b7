-- What an owner's provider said when a session that goes on began. Parameters: id uuid.
-- Zero rows: no such session, or it has ended.
SELECT name, claims FROM session
WHERE id = %(id)s::uuid AND ended_at IS NULL AND expires_at > now()
