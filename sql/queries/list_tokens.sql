-- The tokens of an owner that are good. Parameters: owner_id bigint.
SELECT name, permissions, made_at, expires_at, used_at, used_from
FROM token
WHERE owner_id = %(owner_id)s::bigint AND revoked_at IS NULL AND expires_at > now()
ORDER BY name
