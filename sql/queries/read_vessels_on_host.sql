-- The vessels that a host should have, and which of them it was last known to run.
-- Parameters: host_id int. Zero rows: none.
SELECT id, attempt, state FROM vessel
WHERE host_id = %(host_id)s::int AND living AND NOT waiting
