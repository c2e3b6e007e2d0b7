-- Move the end of a vessel's life: to an instant, by a span from the end that it has, or, without
-- either, to a while from now; that one never makes it shorter.
-- Parameters: id uuid, owner_id bigint, until timestamptz (NULL: not said), by interval (NULL: not
--   said), least interval (the while), most interval (from now to the latest end there may be),
--   sources text[].
-- Zero rows: it is not the owner's, its state does not allow it, or the end would be past or too far,
--   or farther than the policy lets it live.
-- Locks: the vessel's row.
WITH v AS (
  UPDATE vessel
  SET ends_at = coalesce(%(until)s::timestamptz, ends_at + %(by)s::interval,
                         greatest(ends_at, now() + %(least)s::interval))
  WHERE id = %(id)s::uuid AND owner_id = %(owner_id)s::bigint AND state = ANY (%(sources)s::text[])
    AND coalesce(%(until)s::timestamptz, ends_at + %(by)s::interval,
                 greatest(ends_at, now() + %(least)s::interval))
        BETWEEN now() AND least(now() + %(most)s::interval,
                                (SELECT lives_until FROM idle WHERE vessel_id = vessel.id))
  RETURNING id, owner_id, name, attempt, ends_at
),
e AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
  SELECT 'extended', owner_id, id, attempt,
         jsonb_build_object('ends_at', date_trunc('second', ends_at)), %(request)s::text
  FROM v
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'vessels:extend', name,
         jsonb_build_object('id', id, 'ends_at', date_trunc('second', ends_at))
  FROM v
)
SELECT ends_at FROM v
