-- Give a claim back, to be taken again after a while.
-- Parameters: id bigint, conductor text, delay interval, trouble text (NULL: none).
-- Zero rows: the claim was lost already.
UPDATE outbox
SET claimed_by = NULL, lease_until = NULL, trouble = %(trouble)s::text,
    run_at = clock_timestamp() + %(delay)s::interval
WHERE id = %(id)s::bigint AND claimed_by = %(conductor)s::text
RETURNING id
