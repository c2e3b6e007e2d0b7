-- Take a public key from an owner.
-- Parameters: owner_id bigint, key text (its name or fingerprint). Zero rows: no such key.
WITH k AS (
  DELETE FROM ssh_key
  WHERE owner_id = %(owner_id)s::bigint AND (name = %(key)s::text OR fingerprint = %(key)s::text)
  RETURNING id, name, fingerprint
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'keys:write', name,
         jsonb_build_object('removed', fingerprint)
  FROM k
)
SELECT id FROM k
