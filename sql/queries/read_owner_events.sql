-- As read_events, of one owner.
-- Parameters: after_xid text, after_id bigint, owner_id bigint, vessel_id uuid (NULL: any), most int.
-- Zero rows: nothing new.
SELECT e.xid::text AS xid, e.id, e.at, e.kind, e.owner_id, e.vessel_id, e.attempt, e.data, e.request,
       v.name AS vessel
FROM event e LEFT JOIN vessel v ON v.id = e.vessel_id
WHERE e.owner_id = %(owner_id)s::bigint
  AND (e.xid, e.id) > (%(after_xid)s::text::xid8, %(after_id)s::bigint)
  AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
  AND (%(vessel_id)s::uuid IS NULL OR e.vessel_id = %(vessel_id)s::uuid)
ORDER BY e.xid, e.id
LIMIT %(most)s::int
