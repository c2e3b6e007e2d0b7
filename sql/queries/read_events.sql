-- Everybody's events after a place in the stream, oldest first. Only rows below every running
-- transaction are shown, so that none can appear later behind the place.
-- Parameters: after_xid text, after_id bigint, most int. Zero rows: nothing new.
SELECT e.xid::text AS xid, e.id, e.at, e.kind, e.owner_id, e.vessel_id, e.attempt, e.data, e.request,
       v.name AS vessel
FROM event e LEFT JOIN vessel v ON v.id = e.vessel_id
WHERE (e.xid, e.id) > (%(after_xid)s::text::xid8, %(after_id)s::bigint)
  AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY e.xid, e.id
LIMIT %(most)s::int
