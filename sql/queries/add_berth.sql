-- Claim the lowest free number on a host for a network container that is about to be made.
-- Parameters: host_id int, vessel_id uuid (NULL: a waiting one), skip int[] (numbers whose port
--   somebody else uses). Zero rows: lost a race for the number; try again. Or nothing is to wait on
--   the host, for it takes no vessels: a conductor may be taking away what waited.
INSERT INTO berth (host_id, number, vessel_id)
SELECT h.id, n, %(vessel_id)s::uuid
FROM host h, generate_series(1, 4000) n
WHERE h.id = %(host_id)s::int AND (h.open OR %(vessel_id)s::uuid IS NOT NULL)
  AND NOT EXISTS (SELECT FROM berth b WHERE b.host_id = %(host_id)s::int AND b.number = n)
  AND NOT n = ANY (%(skip)s::int[])
ORDER BY n
LIMIT 1
ON CONFLICT DO NOTHING
RETURNING number
