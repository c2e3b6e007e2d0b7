-- A berth's network container holds its namespace, with its rules.
-- Parameters: host_id int, number int, device text (the node of a tailnet that it waits as; NULL: none).
-- Zero rows: it was removed.
UPDATE berth SET ready = true, device = %(device)s::text
WHERE host_id = %(host_id)s::int AND number = %(number)s::int
RETURNING number
