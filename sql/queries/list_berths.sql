-- A host's berths.
-- Parameters: host_id int. Zero rows: none.
SELECT number, vessel_id, ready, made_at < now() - interval '2 minutes' AS old
FROM berth WHERE host_id = %(host_id)s::int ORDER BY number
