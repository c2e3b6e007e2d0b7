-- Say what became of a message. Parameters: id bigint, outcome text (sent, later, unknown or never),
-- delay interval (until it is tried again), trouble text. Zero rows: somebody else said so before.
UPDATE message
SET sent_at = CASE WHEN %(outcome)s::text = 'sent' THEN clock_timestamp() END,
    given_up_at = CASE WHEN %(outcome)s::text = 'never' THEN clock_timestamp() END,
    in_hand = %(outcome)s::text = 'unknown',
    run_at = clock_timestamp() + %(delay)s::interval, trouble = %(trouble)s::text
WHERE id = %(id)s::bigint AND sent_at IS NULL AND given_up_at IS NULL
RETURNING id
