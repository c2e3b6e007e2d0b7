-- A step inside `starting`: building and home_coming (as often as there is something to say of it),
-- image_ready, home_came or home_stays, ssh_ready, jupyter_ready.
-- Parameters: id uuid, attempt int, kind text, data jsonb (of image_ready: `layer`, the name of its
--   layer, where its image has one; of home_came: `seconds`, if it was brought now), image_digest text, ssh_address text, ssh_port int (the last
--   three NULL: unchanged).
-- Zero rows: the vessel is not starting, or this is another attempt.
WITH v AS (
  UPDATE vessel
  SET image_digest = coalesce(%(image_digest)s::text, image_digest),
      ssh_address = coalesce(%(ssh_address)s::text, ssh_address),
      ssh_port = coalesce(%(ssh_port)s::int, ssh_port),
      image_ready_at = CASE WHEN %(kind)s::text IN ('image_ready', 'home_came', 'home_stays')
                            THEN clock_timestamp() ELSE image_ready_at END,
      home_from = CASE WHEN %(kind)s::text IN ('home_came', 'home_stays') THEN NULL ELSE home_from END
  WHERE id = %(id)s::uuid AND attempt = %(attempt)s::int AND state = 'starting'
  RETURNING id, owner_id, attempt, host_id, image, wants_digest
),
m AS (
  -- its home is made next, and its image is there
  INSERT INTO home (owner_id, host_id) SELECT owner_id, host_id FROM v
  WHERE %(kind)s::text = 'image_ready'
  ON CONFLICT DO NOTHING
),
b AS (
  -- as it was when the copy began
  INSERT INTO home (owner_id, host_id, came_from, came_at)
  SELECT v.owner_id, v.host_id, o.home_from,
         clock_timestamp() - make_interval(secs => (%(data)s::jsonb->>'seconds')::float8)
  FROM v JOIN vessel o ON o.id = v.id  -- as it was before this statement
  WHERE %(kind)s::text = 'home_came' AND %(data)s::jsonb->>'seconds' IS NOT NULL
  ON CONFLICT (owner_id, host_id) DO UPDATE
  SET came_from = EXCLUDED.came_from, came_at = EXCLUDED.came_at
),
s AS (
  -- of one that its owner did not ask for
  INSERT INTO message (owner_id, kind, body)
  SELECT v.owner_id, 'draining',
         jsonb_build_object('host', %(data)s::jsonb->>'from', 'vessels', jsonb_build_array(o.name),
                            'stays', %(data)s::jsonb->>'reason')
  FROM v JOIN vessel o ON o.id = v.id
  WHERE %(kind)s::text = 'home_stays' AND o.idempotency_key LIKE 'move-%%'
),
i AS (
  INSERT INTO image_on_host (image, host_id, vessel_image, base)
  SELECT image, host_id, %(data)s::jsonb->>'layer' IS NULL, NULL FROM v
  WHERE %(kind)s::text = 'image_ready' AND wants_digest IS NULL
  UNION ALL
  SELECT %(data)s::jsonb->>'layer', host_id, true, image FROM v
  WHERE %(kind)s::text = 'image_ready' AND %(data)s::jsonb->>'layer' IS NOT NULL
  ON CONFLICT DO NOTHING
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
SELECT %(kind)s::text, owner_id, id, attempt, %(data)s::jsonb, %(request)s::text FROM v
RETURNING vessel_id
