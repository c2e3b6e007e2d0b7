-- The vessels whose host's hour has come.
-- Parameters: none. Zero rows: there is none.
SELECT v.id, h.name AS host, h.drain_why AS why, h.drain_moves AS moves
FROM host h JOIN vessel v ON v.host_id = h.id
WHERE h.drain_at <= now() AND h.removed_at IS NULL AND v.living AND v.state <> 'stopping'
