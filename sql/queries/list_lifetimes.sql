-- Living vessels and the end of their lives, for the undertaker.
-- Parameters: none. Zero rows: nobody lives.
SELECT v.id, v.name, o.login AS owner, v.state, v.ends_at
FROM vessel v JOIN owner o ON o.id = v.owner_id
WHERE v.state NOT IN ('buried', 'failed', 'stopping')
ORDER BY v.ends_at, v.id
