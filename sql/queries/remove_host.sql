-- A host leaves: nothing of drc is on it, or it is lost for good. Its row and its cards' stay for
-- history, under names that others may have again.
-- Parameters: id int. Zero rows: no such host, or vessels are on it.
-- Locks: the host's row, then what hangs on it.
WITH h AS MATERIALIZED (
  SELECT id, name FROM host
  WHERE id = %(id)s::int AND removed_at IS NULL
    AND NOT EXISTS (SELECT FROM vessel v WHERE v.host_id = host.id
                    AND v.living AND NOT v.waiting)
  FOR UPDATE
),
g AS (UPDATE gpu SET removed = true FROM h WHERE gpu.host_id = h.id),
c AS (DELETE FROM gpu_count USING h WHERE gpu_count.host_id = h.id),
b AS (DELETE FROM berth USING h WHERE berth.host_id = h.id),
m AS (DELETE FROM home USING h WHERE home.host_id = h.id),
i AS (DELETE FROM image_on_host USING h WHERE image_on_host.host_id = h.id),
o AS (DELETE FROM outbox USING h WHERE outbox.host_id = h.id),
t AS (
  -- without a word; what one vessel's owner is to know yet is told
  UPDATE trouble SET ended_at = coalesce(ended_at, now()), over_at = now()
  FROM h WHERE trouble.host_id = h.id AND trouble.over_at IS NULL AND trouble.vessel_id IS NULL
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name, jsonb_build_object('verb', 'removed') FROM h
)
UPDATE host SET removed_at = now() FROM h WHERE host.id = h.id
RETURNING host.id
