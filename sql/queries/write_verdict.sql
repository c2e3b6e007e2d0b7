-- Write down how a vessel was judged, its next rung, and the message that belongs to it. Rounds that
-- judge at once agree on one: the rung must be the one that was judged from.
-- Parameters: id uuid, rung text, was text (the rung before), was_warned_at timestamptz, kept_until
--   timestamptz (as they were judged), verdict text, reason text, evidence jsonb, now timestamptz,
--   idle_since timestamptz, bury_at timestamptz, keep_to timestamptz, most_keeps int, lives_until timestamptz, is_busy bool,
--   kind text (of the message; NULL: none), body jsonb.
-- Zero rows: it has ended, somebody kept it, or another round was first.
WITH v AS (
  SELECT v.id, v.owner_id, v.attempt FROM vessel v LEFT JOIN idle i ON i.vessel_id = v.id
  WHERE v.id = %(id)s::uuid AND v.state NOT IN ('buried', 'failed', 'stopping')
    AND coalesce(i.rung, 'active') = %(was)s::text
    AND i.warned_at IS NOT DISTINCT FROM %(was_warned_at)s::timestamptz
    AND i.kept_until IS NOT DISTINCT FROM %(kept_until)s::timestamptz
),
j AS (
  INSERT INTO idle (vessel_id, rung, verdict, reason, evidence, judged_at, idle_since, bury_at,
                    warned_at, called_at, keep_to, keeps_left, lives_until)
  SELECT id, %(rung)s::text, %(verdict)s::text, %(reason)s::text, %(evidence)s::jsonb,
         %(now)s::timestamptz, %(idle_since)s::timestamptz, %(bury_at)s::timestamptz,
         CASE WHEN %(kind)s::text = 'warned' THEN %(now)s::timestamptz END,
         CASE WHEN %(kind)s::text = 'called' THEN %(now)s::timestamptz END,
         %(keep_to)s::timestamptz, %(most_keeps)s::int, %(lives_until)s::timestamptz
  FROM v
  ON CONFLICT (vessel_id) DO UPDATE SET
    rung = EXCLUDED.rung, verdict = EXCLUDED.verdict, reason = EXCLUDED.reason,
    evidence = EXCLUDED.evidence, judged_at = EXCLUDED.judged_at,
    idle_since = EXCLUDED.idle_since, bury_at = EXCLUDED.bury_at, keep_to = EXCLUDED.keep_to,
    lives_until = EXCLUDED.lives_until,
    warned_at = CASE WHEN EXCLUDED.rung <> 'active'
                     THEN coalesce(EXCLUDED.warned_at, idle.warned_at) END,
    called_at = CASE WHEN EXCLUDED.rung = 'called'
                     THEN coalesce(EXCLUDED.called_at, idle.called_at) END,
    keeps = CASE WHEN %(is_busy)s::boolean THEN 0 ELSE idle.keeps END,
    keeps_left = greatest(0, %(most_keeps)s::int
                             - CASE WHEN %(is_busy)s::boolean THEN 0 ELSE idle.keeps END)
  WHERE idle.rung = %(was)s::text AND idle.judged_at <= %(now)s::timestamptz
    AND idle.warned_at IS NOT DISTINCT FROM %(was_warned_at)s::timestamptz
    AND idle.kept_until IS NOT DISTINCT FROM %(kept_until)s::timestamptz
  RETURNING vessel_id
),
m AS (
  INSERT INTO message (vessel_id, owner_id, kind, body, judged_at)
  SELECT id, owner_id, %(kind)s::text, %(body)s::jsonb, %(now)s::timestamptz
  FROM v JOIN j ON j.vessel_id = v.id WHERE %(kind)s::text IS NOT NULL
),
e AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
  SELECT 'idle', owner_id, id, attempt,
         jsonb_build_object('rung', %(rung)s::text, 'reason', %(reason)s::text), %(request)s::text
  FROM v JOIN j ON j.vessel_id = v.id WHERE %(rung)s::text <> %(was)s::text
)
SELECT vessel_id FROM j
