-- Take the message that has been due for longest, for a while. One that is in hand already was taken
-- by somebody who died of it, or hangs: what became of it is not known. One about a vessel that is
-- not so any more (it was used, kept, or has ended) is stale. What it says of times is as of now. One
-- to the operators has no owner. Of troubles nobody is told a day later.
-- Parameters: patience interval. Zero rows: none is due. Locks: its row, by SKIP LOCKED.
WITH due AS MATERIALIZED (
  SELECT id, owner_id, vessel_id, in_hand AS is_unknown FROM message
  WHERE sent_at IS NULL AND given_up_at IS NULL AND run_at <= clock_timestamp()
  ORDER BY run_at, id LIMIT 1
  FOR UPDATE SKIP LOCKED
)
UPDATE message m
SET run_at = clock_timestamp() + %(patience)s::interval, tries = m.tries + 1, in_hand = true
FROM due
LEFT JOIN owner o ON o.id = due.owner_id
LEFT JOIN vessel v ON v.id = due.vessel_id
LEFT JOIN idle i ON i.vessel_id = v.id
WHERE m.id = due.id
RETURNING m.id, m.kind, m.made_at, due.is_unknown, coalesce(o.login, '') AS owner,
  coalesce(o.name, '') AS called,
  coalesce((SELECT b.recipient FROM message b
            WHERE b.owner_id = m.owner_id AND b.sent_at > now() - interval '30 days'
              AND b.recipient IS NOT NULL
            ORDER BY b.id DESC LIMIT 1), '') AS reached,
  CASE WHEN m.kind IN ('trouble', 'well') THEN m.made_at < now() - interval '1 day'
       WHEN m.kind IN ('warned', 'called') THEN
         NOT v.living OR v.state = 'stopping'
         OR m.judged_at IS DISTINCT FROM CASE m.kind WHEN 'warned' THEN i.warned_at ELSE i.called_at END
       ELSE false END AS is_stale,
  CASE WHEN m.kind NOT IN ('warned', 'called') OR i.bury_at IS NULL THEN m.body
       ELSE m.body || jsonb_build_object('bury_at', i.bury_at, 'keep_to', i.keep_to,
                                         'keeps_left', i.keeps_left) END AS body
