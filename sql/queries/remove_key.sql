-- Take a public key from an owner, with the certificates upon it; running vessels are told.
-- Parameters: owner_id bigint, key text (its name or fingerprint). Zero rows: no such key.
WITH k AS (
  DELETE FROM ssh_key
  WHERE owner_id = %(owner_id)s::bigint AND (name = %(key)s::text OR fingerprint = %(key)s::text)
  RETURNING id, owner_id, name, fingerprint
),
c AS (
  UPDATE certificate c SET revoked_at = now() FROM k
  WHERE c.owner_id = k.owner_id AND c.fingerprint = k.fingerprint AND c.revoked_at IS NULL
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'keys:write', name,
         jsonb_build_object('removed', fingerprint)
  FROM k
)
SELECT id, queue_keys(owner_id, %(request)s::text) AS vessels FROM k
