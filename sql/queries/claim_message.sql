-- Take the oldest message that is due, for a while. One that is in hand already was taken by somebody
-- who died of it, or hangs: what became of it is not known.
-- Parameters: patience interval. Zero rows: none is due. Locks: its row, by SKIP LOCKED.
WITH due AS MATERIALIZED (
  SELECT id, in_hand AS is_unknown FROM message
  WHERE sent_at IS NULL AND given_up_at IS NULL AND run_at <= clock_timestamp()
  ORDER BY id LIMIT 1
  FOR UPDATE SKIP LOCKED
)
UPDATE message m
SET run_at = clock_timestamp() + %(patience)s::interval, tries = m.tries + 1, in_hand = true
FROM due, owner o
WHERE m.id = due.id AND o.id = m.owner_id
RETURNING m.id, m.kind, m.body, m.tries, m.made_at, due.is_unknown, o.login AS owner,
          coalesce(o.name, '') AS called
