-- Whose a token is and what it may do, if it is good; and that it was used, once a minute.
-- Parameters: hash bytea. Zero rows: there is none, or it was revoked, or it has run out.
WITH t AS (
  SELECT t.id, t.name, t.permissions, t.expires_at, t.used_at, o.subject, o.name AS called, o.claims
  FROM token t JOIN owner o ON o.id = t.owner_id
  WHERE t.hash = %(hash)s::bytea AND t.revoked_at IS NULL AND t.expires_at > now()
),
u AS (
  UPDATE token SET used_at = now(), used_from = %(actor)s::jsonb ->> 'address'
  FROM t WHERE token.id = t.id AND coalesce(t.used_at < now() - interval '1 minute', true)
)
SELECT name, permissions, expires_at, subject, called, claims FROM t
