-- Revoke an owner's certificates that are good; running vessels are told.
-- Parameters: owner_id bigint, serial bigint (NULL: all of them). A row for each that was good.
WITH c AS (
  UPDATE certificate SET revoked_at = now()
  WHERE owner_id = %(owner_id)s::bigint AND revoked_at IS NULL AND expires_at > now()
    AND serial = coalesce(%(serial)s::bigint, serial)
  RETURNING serial, owner_id, fingerprint
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'keys:write', fingerprint, jsonb_build_object('revoked', serial) FROM c
),
q AS (
  SELECT queue_keys(owner_id, %(request)s::text) AS vessels FROM (SELECT DISTINCT owner_id FROM c) o
)
SELECT serial FROM c, q
