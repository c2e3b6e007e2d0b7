-- What is wrong now, and what was and is not called over yet; the oldest first.
-- Parameters: host text (NULL: anywhere). Zero rows: all is well.
SELECT t.id, t.kind, h.name AS host, h.cordoned, g.uuid, g.idx AS index, t.detail, t.began_at, t.seen_at,
       t.ended_at, t.returns, t.told_at,
       coalesce((SELECT jsonb_agg(jsonb_build_object(
                          'id', v.id, 'name', v.name, 'owner_id', v.owner_id, 'owner', o.login,
                          'living', v.living) ORDER BY o.login, v.name)
                 FROM vessel v JOIN owner o ON o.id = v.owner_id WHERE v.id = ANY (t.vessels)), '[]') AS vessels
FROM trouble t
JOIN host h ON h.id = t.host_id
LEFT JOIN gpu g ON g.id = t.gpu_id
WHERE t.over_at IS NULL AND (%(host)s::text IS NULL OR h.name = %(host)s::text)
ORDER BY t.began_at, t.id
