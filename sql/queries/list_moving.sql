-- Those that have ended and are to be created again elsewhere, with their owners, once the last of an
-- owner's on that host has: then the home can come along, whole. One that shared another's GPUs goes
-- behind that one, once it has some again.
-- Parameters: none. Zero rows: there is none.
SELECT v.id, v.name, v.owner_id, v.saved_image IS NOT NULL AS saved, h.name AS host,
       CASE WHEN EXISTS (SELECT FROM home m WHERE (m.owner_id, m.host_id) = (v.owner_id, v.host_id)
                           AND h.removed_at IS NULL)
            THEN h.name END AS home_on,
       o.subject, o.login, o.uid, o.claims, coalesce(o.name, o.login) AS called
FROM vessel v JOIN owner o ON o.id = v.owner_id LEFT JOIN host h ON h.id = v.host_id
WHERE v.moves AND v.state IN ('buried', 'failed') AND NOT v.save
  AND NOT EXISTS (
    SELECT FROM vessel l LEFT JOIN vessel n ON n.owner_id = l.owner_id AND n.name = l.name AND n.living
    WHERE l.id = v.shares_id AND (l.moves OR n.state IN ('queued', 'stopping')))
  AND NOT EXISTS (
    SELECT FROM vessel b WHERE (b.owner_id, b.host_id) = (v.owner_id, v.host_id) AND b.state = 'stopping')
ORDER BY v.created_at
