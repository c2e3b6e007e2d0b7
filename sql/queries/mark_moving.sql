-- Say of a vessel that is about to end whether it is created again elsewhere.
-- Parameters: id uuid, moves boolean. Zero rows: there is no such vessel.
UPDATE vessel SET moves = %(moves)s::boolean WHERE id = %(id)s::uuid RETURNING id
