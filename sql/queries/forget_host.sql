-- Take out a host that was never committed, with what was found on it.
-- Parameters: name text. Zero rows: no such host, or it has been committed.
WITH h AS (
  SELECT id, name FROM host WHERE name = %(name)s::text AND removed_at IS NULL AND NOT committed FOR UPDATE
),
o AS (DELETE FROM outbox USING h WHERE outbox.host_id = h.id),
b AS (DELETE FROM berth USING h WHERE berth.host_id = h.id),
m AS (DELETE FROM home USING h WHERE home.host_id = h.id),
i AS (DELETE FROM image_on_host USING h WHERE image_on_host.host_id = h.id),
t AS (DELETE FROM trouble USING h WHERE trouble.host_id = h.id),
d AS (DELETE FROM doubt USING gpu, h WHERE doubt.gpu_id = gpu.id AND gpu.host_id = h.id),
c AS (DELETE FROM gpu_count USING h WHERE gpu_count.host_id = h.id),
g AS (DELETE FROM gpu USING h WHERE gpu.host_id = h.id),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', 'forget')
  FROM h
)
DELETE FROM host USING h WHERE host.id = h.id
RETURNING host.id
