-- A vessel that was to be created again elsewhere has been, or cannot be.
-- Parameters: id uuid. Zero rows: there is no such vessel.
UPDATE vessel SET moves = false WHERE id = %(id)s::uuid RETURNING id
