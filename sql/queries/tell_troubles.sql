-- Write messages about troubles, and that they were: those that are told now, and those that are over.
-- Parameters: told bigint[], over bigint[], messages jsonb (owner_id: null means the operators; kind;
--   body). Zero rows: somebody else did so just now, and nothing was written.
-- Locks: the troubles' rows.
WITH t AS (
  SELECT id FROM trouble
  WHERE over_at IS NULL
    AND (id = ANY (%(over)s::bigint[]) AND ended_at IS NOT NULL  -- else it came back just now
         OR id = ANY (%(told)s::bigint[]) AND told_at IS NULL)
  ORDER BY id FOR UPDATE
),
every AS (
  SELECT count(*) = (SELECT count(DISTINCT id) FROM unnest(%(told)s::bigint[] || %(over)s::bigint[]) AS x (id))
         AS is_so
  FROM t
),
u AS (
  UPDATE trouble
  SET told_at = CASE WHEN trouble.id = ANY (%(told)s::bigint[]) THEN clock_timestamp() ELSE told_at END,
      over_at = CASE WHEN trouble.id = ANY (%(over)s::bigint[]) THEN clock_timestamp() END
  FROM t, every WHERE trouble.id = t.id AND every.is_so
  RETURNING trouble.id, trouble.kind, trouble.host_id, trouble.vessels, trouble.detail, over_at
),
m AS (
  INSERT INTO message (owner_id, kind, body)
  SELECT r.owner_id, r.kind, r.body
  FROM every CROSS JOIN jsonb_to_recordset(%(messages)s::jsonb) AS r (owner_id bigint, kind text, body jsonb)
  WHERE every.is_so
),
n AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data)
  SELECT 'well', v.owner_id, v.id, v.attempt,
         jsonb_build_object('host', h.name, 'what', u.kind, 'reason', u.detail)
  FROM u JOIN host h ON h.id = u.host_id JOIN vessel v ON v.id = ANY (u.vessels)
  WHERE u.over_at IS NOT NULL AND v.living AND u.kind <> 'container-gone'
)
SELECT id FROM u
