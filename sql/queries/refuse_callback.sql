-- Keep for the audit that a callback with a wrong token, attempt or time was refused.
-- Parameters: id uuid, attempt int, data jsonb.
INSERT INTO event (kind, vessel_id, attempt, data, request)
VALUES ('callback_refused', %(id)s::uuid, %(attempt)s::int, %(data)s::jsonb, %(request)s::text)
RETURNING id
