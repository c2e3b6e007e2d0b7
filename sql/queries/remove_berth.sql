-- A berth's network container is gone; its number is free.
-- Parameters: host_id int, number int. Zero rows: it was removed before.
DELETE FROM berth WHERE host_id = %(host_id)s::int AND number = %(number)s::int
RETURNING number, device
