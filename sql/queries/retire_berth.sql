-- A waiting berth is about to be taken away: no vessel gets it any more.
-- Parameters: host_id int, number int. Zero rows: a vessel has it, or somebody is just making it.
UPDATE berth SET ready = false
WHERE host_id = %(host_id)s::int AND number = %(number)s::int AND vessel_id IS NULL
  AND (ready OR made_at < now() - interval '2 minutes')
RETURNING number
