-- Make a token for an owner; one of the same name that has run out makes room.
-- Parameters: owner_id bigint, name text, hash bytea, permissions text[], life interval,
--   claims jsonb (NULL: those of the last session), called text (NULL: likewise).
-- Always a row; a name in use is a violation of an_owner_names_a_token_once.
WITH o AS (
  UPDATE owner SET claims = coalesce(%(claims)s::jsonb, claims), name = coalesce(%(called)s::text, name)
  WHERE id = %(owner_id)s::bigint
),
old AS (
  UPDATE token SET revoked_at = expires_at
  WHERE owner_id = %(owner_id)s::bigint AND name = %(name)s::text AND revoked_at IS NULL
    AND expires_at < now()
  RETURNING id
),
t AS (
  INSERT INTO token (owner_id, name, hash, permissions, expires_at)
  SELECT %(owner_id)s::bigint, %(name)s::text, %(hash)s::bytea, %(permissions)s::text[],
         now() + %(life)s::interval
  FROM (SELECT count(*) FROM old) first
  RETURNING id, name, permissions, made_at, expires_at
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'tokens:issue', name,
         jsonb_build_object('made', id, 'permissions', permissions, 'expires_at', expires_at)
  FROM t
)
SELECT name, permissions, made_at, expires_at FROM t
