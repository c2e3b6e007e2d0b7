-- Certificates are kept for a while after they ran out.
-- Parameters: age interval. Zero rows: none ran out that long ago.
DELETE FROM certificate WHERE expires_at < now() - %(age)s::interval RETURNING serial
