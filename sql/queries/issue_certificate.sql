-- Write down a certificate that is about to be signed. What ends a session or a token waits for this
-- statement, or this one for it: so none is signed for one that has ended.
-- Parameters: owner_id bigint, fingerprint text, session_id uuid, token text (its name; NULL both: of
--   neither), life interval, latest timestamptz (NULL: none).
-- Zero rows: the session or the token is good for nothing any more.
WITH s AS (
  SELECT id, expires_at FROM session
  WHERE id = %(session_id)s::uuid AND ended_at IS NULL AND expires_at > now() FOR SHARE
),
t AS (
  SELECT id FROM token
  WHERE owner_id = %(owner_id)s::bigint AND name = %(token)s::text
    AND revoked_at IS NULL AND expires_at > now() FOR SHARE
),
c AS (
  INSERT INTO certificate (owner_id, fingerprint, session_id, token_id, expires_at)
  SELECT %(owner_id)s::bigint, %(fingerprint)s::text, s.id, t.id,
         least(now() + %(life)s::interval, %(latest)s::timestamptz, s.expires_at)
  FROM (VALUES (1)) one LEFT JOIN s ON true LEFT JOIN t ON true
  WHERE (s.id IS NOT NULL OR %(session_id)s::uuid IS NULL)
    AND (t.id IS NOT NULL OR %(token)s::text IS NULL)
  RETURNING serial, fingerprint, issued_at, expires_at
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'certificates:issue', fingerprint,
         jsonb_build_object('certificate', serial, 'expires_at', expires_at)
  FROM c
)
SELECT serial, issued_at, expires_at FROM c
