-- Add a public key to an owner.
-- Parameters: owner_id bigint, name text, line text, fingerprint text. Zero rows: it is there.
INSERT INTO ssh_key (owner_id, name, line, fingerprint)
VALUES (%(owner_id)s::bigint, %(name)s::text, %(line)s::text, %(fingerprint)s::text)
ON CONFLICT DO NOTHING
RETURNING id
