-- Keep an idle vessel: until then its idleness does not count, nor what was before.
-- Parameters: id uuid, owner_id bigint, until timestamptz (NULL: as far as one may), why text.
-- Zero rows: it is not the owner's, it has ended, nobody judged it yet, it may be kept no more, or
--   not so far, or it is kept that long already.
-- Locks: the vessel's row, then its idle row.
WITH v AS (
  UPDATE vessel v SET kept_until = coalesce(%(until)s::timestamptz, i.keep_to)
  FROM idle i
  WHERE v.id = %(id)s::uuid AND i.vessel_id = v.id AND v.owner_id = %(owner_id)s::bigint
    AND v.living AND v.state <> 'stopping' AND i.keeps_left > 0
    AND coalesce(%(until)s::timestamptz, i.keep_to) BETWEEN now() AND i.keep_to
    AND coalesce(%(until)s::timestamptz, i.keep_to) > coalesce(v.kept_until, '-infinity')
  RETURNING v.id, v.owner_id, v.name, v.attempt, v.kept_until
),
k AS (
  UPDATE idle i
  SET kept_until = v.kept_until, kept_at = now(), kept_why = %(why)s::text, keeps = keeps + 1,
      keeps_left = keeps_left - 1, rung = 'active', warned_at = NULL, called_at = NULL,
      bury_at = NULL, verdict = 'keep', reason = 'its owner keeps it'
  FROM v WHERE i.vessel_id = v.id
  RETURNING v.id, v.owner_id, v.name, v.attempt, i.kept_until, i.keeps_left
),
e AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
  SELECT 'kept', owner_id, id, attempt,
         jsonb_build_object('until', date_trunc('second', kept_until), 'why', %(why)s::text),
         %(request)s::text
  FROM k
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'vessels:extend', name,
         jsonb_build_object('id', id, 'kept_until', date_trunc('second', kept_until),
                            'why', %(why)s::text)
  FROM k
)
SELECT kept_until, keeps_left FROM k
