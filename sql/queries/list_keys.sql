-- An owner's public keys.
-- Parameters: owner_id bigint. Zero rows: none.
SELECT name, line, fingerprint, added_at FROM ssh_key
WHERE owner_id = %(owner_id)s::bigint ORDER BY id
