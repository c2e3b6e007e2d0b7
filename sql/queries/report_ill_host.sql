-- A conductor could not make a host out. It takes no new vessels until it is well.
-- Parameters: id int, ill text. Zero rows: no such host.
UPDATE host SET ill = %(ill)s::text WHERE id = %(id)s::int
RETURNING id
