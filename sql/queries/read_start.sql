-- How a vessel came up: when each step of an attempt was told, the last time where it was told again.
-- Looked for among its owner's latest events only, so that it is as quick for an owner of thousands.
-- Parameters: id uuid, attempt int, kinds text[], most int. Zero rows: nothing is known of it.
SELECT v.created_at, v.queues, e.kind, e.at
FROM vessel v
CROSS JOIN LATERAL (
  SELECT l.kind, max(l.at) AS at
  FROM (
    SELECT kind, at, vessel_id, attempt FROM event
    WHERE owner_id = v.owner_id
    ORDER BY xid DESC, id DESC
    LIMIT %(most)s::int
  ) l
  WHERE l.vessel_id = v.id AND l.attempt = v.attempt AND l.kind = ANY (%(kinds)s::text[])
  GROUP BY l.kind
) e
WHERE v.id = %(id)s::uuid AND v.attempt = %(attempt)s::int
