-- The names that an owner's vessels bear and have borne, the latest first.
-- Parameters: owner_id bigint. Zero rows: there was never one.
SELECT name FROM vessel WHERE owner_id = %(owner_id)s::bigint
GROUP BY name
ORDER BY bool_or(living) DESC, max(created_at) DESC
LIMIT 200
