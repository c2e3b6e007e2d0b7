-- How many vessels wait for the same, or of one that waits: how many are served before it.
-- Parameters: shape bigint, id uuid (NULL: of none).
SELECT count(*) AS n FROM vessel q
WHERE q.waiting AND q.shape = %(shape)s::bigint
  AND (%(id)s::uuid IS NULL OR (q.created_at, q.id) < (
    SELECT v.created_at, v.id FROM vessel v WHERE v.id = %(id)s::uuid))
