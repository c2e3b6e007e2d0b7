-- End a vessel: one that waits is buried at once, one on a host goes to `stopping` and its work
-- becomes `stop`; a claim on that work stays until its holder notices. Vessels that share its GPUs
-- end with it.
-- Parameters: id uuid, attempt int (NULL: whichever), sources text[], outcome text, reason text;
--   ends_at timestamptz (NULL: it does not matter) and kept_until timestamptz: as they were judged;
--   save boolean (what is in it is to be kept), moves boolean (it is to be created again elsewhere).
-- Zero rows: the state does not allow it, or it was judged by what is not so any more.
-- Locks: the vessel's row, then its outbox row.
WITH target AS MATERIALIZED (
  -- under its lock, so that an extend or keep that came just before is seen
  SELECT id FROM vessel
  WHERE id = %(id)s::uuid AND state = ANY (%(sources)s::text[])
    AND (%(attempt)s::int IS NULL OR attempt = %(attempt)s::int)
    AND (%(ends_at)s::timestamptz IS NULL
         OR (ends_at = %(ends_at)s::timestamptz
             AND kept_until IS NOT DISTINCT FROM %(kept_until)s::timestamptz))
  FOR UPDATE
),
v AS (
  UPDATE vessel
  SET state = CASE WHEN state = 'queued' THEN 'buried' ELSE 'stopping' END,
      save = save OR %(save)s::boolean, moves = %(moves)s::boolean, state_since = clock_timestamp(), outcome = %(outcome)s::text,
      reason = CASE WHEN id = %(id)s::uuid THEN %(reason)s::text
                    ELSE 'the vessel whose GPUs it shares ended: ' || %(reason)s::text END
  WHERE (id IN (SELECT id FROM target) OR shares_id IN (SELECT id FROM target))
    AND state = ANY (%(sources)s::text[])
  RETURNING id, owner_id, name, attempt, state, outcome, reason, host_id
),
o AS (
  INSERT INTO outbox (verb, host_id, vessel_id, attempt, request)
  SELECT 'stop', host_id, id, attempt, %(request)s::text FROM v WHERE state = 'stopping'
  ON CONFLICT (vessel_id) WHERE verb IN ('start', 'stop') DO UPDATE
  SET verb = 'stop', generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp(),
      trouble = NULL, request = EXCLUDED.request
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'vessels:stop', name,
         jsonb_build_object('id', id, 'outcome', outcome, 'reason', reason)
  FROM v
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
SELECT v.state, owner_id, id, attempt,
       jsonb_build_object('reason', reason, 'outcome', outcome), %(request)s::text
FROM v
RETURNING kind AS state
