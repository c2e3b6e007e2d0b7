-- The vessel of a message, for a click of whom it was sent to.
-- Parameters: id bigint (of the message), recipient text. Zero rows: it was not sent to them.
SELECT v.id, v.name, v.owner_id, o.subject, o.claims, coalesce(o.name, o.login) AS called,
  coalesce(m.body ->> 'zone', 'UTC') AS zone, coalesce((m.body ->> 'save')::boolean, false) AS save,
  m.judged_at IS DISTINCT FROM CASE m.kind WHEN 'warned' THEN i.warned_at ELSE i.called_at END
    AS is_stale
FROM message m
JOIN vessel v ON v.id = m.vessel_id
JOIN owner o ON o.id = m.owner_id
LEFT JOIN idle i ON i.vessel_id = v.id
WHERE m.id = %(id)s::bigint AND m.recipient = %(recipient)s::text
