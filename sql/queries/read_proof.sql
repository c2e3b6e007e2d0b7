-- Whether a token belongs to an attempt, and the state it finds.
-- Parameters: id uuid, attempt int, token_hash bytea. Zero rows: it does not.
SELECT state FROM vessel
WHERE id = %(id)s::uuid AND attempt = %(attempt)s::int AND token_hash = %(token_hash)s::bytea
