-- What a conductor needs to know of an attempt whose work it holds.
-- Parameters: id uuid, attempt int, conductor text. Zero rows: it does not hold it. Though its lease
--   ran out it does until somebody else takes it: one that was refused here would think that the
--   vessel is to stop, and finish work that is still to be done.
SELECT v.owner_id, v.name, o.login, o.uid
FROM outbox w
JOIN vessel v ON v.id = w.vessel_id AND v.attempt = w.attempt
JOIN owner o ON o.id = v.owner_id
WHERE w.vessel_id = %(id)s::uuid AND w.attempt = %(attempt)s::int
  AND split_part(w.claimed_by, '#', 1) = %(conductor)s::text
LIMIT 1
