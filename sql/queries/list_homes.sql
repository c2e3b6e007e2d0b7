-- Where an owner's home is.
-- Parameters: owner_id bigint. Zero rows: nowhere yet.
SELECT h.name AS host, m.mib, m.made_at
FROM home m JOIN host h ON h.id = m.host_id
WHERE m.owner_id = %(owner_id)s::bigint AND h.removed_at IS NULL
ORDER BY m.mib DESC NULLS LAST, h.name
