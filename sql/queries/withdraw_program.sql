-- A program ends in order: there is nothing to scrape any more.
-- Parameters: kind text, name text. Zero rows: it was not there.
DELETE FROM program WHERE kind = %(kind)s::text AND name = %(name)s::text RETURNING name
