-- The end of the event stream as it is now: a place to follow from.
-- Parameters: none.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xid, 0::bigint AS id
