-- The host from which a vessel's home is to be brought yet.
-- Parameters: id uuid. Zero rows: from none; or what is there came along before, with another vessel,
--   and nobody has been in that home since.
SELECT h.id, h.name
FROM vessel v JOIN host h ON h.id = v.home_from
WHERE v.id = %(id)s::uuid
  AND NOT EXISTS (
    SELECT FROM home m
    WHERE (m.owner_id, m.host_id, m.came_from) = (v.owner_id, v.host_id, v.home_from)
      AND NOT EXISTS (
        SELECT FROM vessel w
        WHERE (w.owner_id, w.host_id) = (v.owner_id, v.home_from)
          AND (w.living OR w.state_since >= m.came_at)))
