-- What a conductor needs to know of an attempt whose work it holds; the address is the one that is
-- kept for it.
-- Parameters: id uuid, attempt int, conductor text. Zero rows: it does not hold it. Though its lease
--   ran out it does until somebody else takes it: one that was refused here would think that the
--   vessel is to stop, and finish work that is still to be done.
SELECT v.owner_id, v.name, o.login, o.uid, host(a.ipv4) AS ipv4, host(a.ipv6) AS ipv6, a.dns_name
FROM outbox w
JOIN vessel v ON v.id = w.vessel_id AND v.attempt = w.attempt
JOIN owner o ON o.id = v.owner_id
LEFT JOIN address a ON (a.owner_id, a.name) = (v.owner_id, v.name)
WHERE w.vessel_id = %(id)s::uuid AND w.attempt = %(attempt)s::int
  AND split_part(w.claimed_by, '#', 1) = %(conductor)s::text
LIMIT 1
