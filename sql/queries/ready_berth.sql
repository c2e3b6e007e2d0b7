-- A berth's network container holds its namespace, with its rules.
-- Parameters: host_id int, number int. Zero rows: it was removed.
UPDATE berth SET ready = true WHERE host_id = %(host_id)s::int AND number = %(number)s::int
RETURNING number
