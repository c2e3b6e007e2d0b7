-- An owner's certificates that have not run out. Parameters: owner_id bigint, skew interval (how much
-- longer a vessel's clock may take one for good).
SELECT c.serial, c.fingerprint, c.issued_at, c.expires_at,
       coalesce(s.client, 'the token ' || t.name, '') AS client,
       c.revoked_at IS NOT NULL OR s.ended_at IS NOT NULL OR t.revoked_at IS NOT NULL AS revoked
FROM certificate c
LEFT JOIN session s ON s.id = c.session_id
LEFT JOIN token t ON t.id = c.token_id
WHERE c.owner_id = %(owner_id)s::bigint AND c.expires_at > now() - %(skew)s::interval
ORDER BY c.serial
