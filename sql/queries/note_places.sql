-- Which homes and images a look at a host found.
-- Parameters: id int, homes jsonb (login, mib), images text[], vessel_images text[] (those
--   of them that need no layer), layers jsonb (of ours, what each was built upon). Zero rows: none.
WITH seen AS MATERIALIZED (
  SELECT o.id AS owner_id, s.mib
  FROM jsonb_to_recordset(%(homes)s::jsonb) AS s (login text, mib bigint)
  JOIN owner o ON o.login = s.login
),
gone AS (
  DELETE FROM home
  WHERE host_id = %(id)s::int AND NOT EXISTS (SELECT FROM seen WHERE seen.owner_id = home.owner_id)
),
kept AS (
  INSERT INTO home (owner_id, host_id, mib) SELECT owner_id, %(id)s::int, mib FROM seen
  ON CONFLICT (owner_id, host_id) DO UPDATE SET mib = EXCLUDED.mib
),
dropped AS (
  DELETE FROM image_on_host
  WHERE host_id = %(id)s::int AND NOT image = ANY (%(images)s::text[])
)
INSERT INTO image_on_host (image, host_id, vessel_image, base)
SELECT image, %(id)s::int, image = ANY (%(vessel_images)s::text[]), %(layers)s::jsonb->>image
FROM unnest(%(images)s::text[]) image
ON CONFLICT (image, host_id) DO UPDATE SET vessel_image = EXCLUDED.vessel_image, base = EXCLUDED.base
RETURNING host_id
