-- Revoke a token of an owner's; running vessels are told, for its certificates end with it.
-- Parameters: owner_id bigint, name text. Zero rows: no such token.
WITH t AS (
  UPDATE token SET revoked_at = now()
  WHERE owner_id = %(owner_id)s::bigint AND name = %(name)s::text AND revoked_at IS NULL
  RETURNING id, owner_id, name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'tokens:issue', name, jsonb_build_object('revoked', id) FROM t
)
SELECT id, queue_keys(owner_id, %(request)s::text) AS vessels FROM t
