-- The work is done: take it out, unless it has become another one meanwhile.
-- Parameters: id bigint, conductor text, generation int.
-- Zero rows: it became another; give the claim back.
DELETE FROM outbox
WHERE id = %(id)s::bigint AND claimed_by = %(conductor)s::text
  AND generation = %(generation)s::int
RETURNING id
