-- Keep the key that a host showed before it was trusted; one whose fingerprint was named is pinned.
-- Parameters: id int, host_key text, fingerprint text. Zero rows: no such host.
UPDATE host
SET shown_host_key = %(host_key)s::text,
    ssh_host_key = CASE WHEN ssh_host_key = %(fingerprint)s::text
                        THEN %(host_key)s::text ELSE ssh_host_key END
WHERE id = %(id)s::int
RETURNING ssh_host_key
