-- Add a public key to an owner.
-- Parameters: owner_id bigint, name text, line text, fingerprint text. Zero rows: it is there.
WITH k AS (
  INSERT INTO ssh_key (owner_id, name, line, fingerprint)
  VALUES (%(owner_id)s::bigint, %(name)s::text, %(line)s::text, %(fingerprint)s::text)
  ON CONFLICT DO NOTHING
  RETURNING id, name, fingerprint
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'keys:write', name,
         jsonb_build_object('added', fingerprint)
  FROM k
)
SELECT id FROM k
