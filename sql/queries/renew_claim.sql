-- Keep a lease alive while its work goes on.
-- Parameters: id bigint, conductor text, generation int, lease interval.
-- Zero rows: the claim is lost, or the work has become another.
UPDATE outbox SET lease_until = now() + %(lease)s::interval
WHERE id = %(id)s::bigint AND claimed_by = %(conductor)s::text
  AND generation = %(generation)s::int
RETURNING id
