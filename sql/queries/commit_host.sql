-- Let a host that was looked at take vessels.
-- Parameters: name text. Zero rows: no such host, or it was not looked at.
UPDATE host SET committed = true WHERE name = %(name)s::text AND removed_at IS NULL AND probed
RETURNING id
