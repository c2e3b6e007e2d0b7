-- Take a public key from an owner.
-- Parameters: owner_id bigint, key text (its name or fingerprint). Zero rows: no such key.
DELETE FROM ssh_key
WHERE owner_id = %(owner_id)s::bigint AND (name = %(key)s::text OR fingerprint = %(key)s::text)
RETURNING id
