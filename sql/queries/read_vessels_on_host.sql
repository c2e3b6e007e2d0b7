-- The vessels that a host should have, and which of them it was last known to run.
-- Parameters: host_id int. Zero rows: none.
SELECT v.id, v.attempt, v.state, v.name, o.login AS owner
FROM vessel v JOIN owner o ON o.id = v.owner_id
WHERE v.host_id = %(host_id)s::int AND v.living AND NOT v.waiting
