-- Give back what a conductor of this name had in hand when it died; it begins anew.
-- Parameters: conductor text (its name, without what tells one claim from its others).
-- Zero rows: it had nothing. Should it live on after all, it notices at its next renewal.
UPDATE outbox SET claimed_by = NULL, lease_until = NULL
WHERE split_part(claimed_by, '#', 1) = %(conductor)s::text
RETURNING id
