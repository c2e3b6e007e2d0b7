-- Tell owners of vessels that the undertaker buried, once each: by what it wrote down before it asked.
-- Parameters: none. Zero rows: they were told.
INSERT INTO message (vessel_id, owner_id, kind, body)
SELECT v.id, v.owner_id, 'buried',
       jsonb_build_object('vessel', v.name, 'reason', i.reason, 'host', h.name,
                          'zone', i.evidence -> 'policy' ->> 'zone',
                          'save', i.evidence -> 'policy' -> 'save')
FROM idle i
JOIN vessel v ON v.id = i.vessel_id
LEFT JOIN host h ON h.id = v.host_id
WHERE i.verdict = 'bury' AND v.state IN ('stopping', 'buried') AND starts_with(v.reason, i.reason)
  AND v.state_since > now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM message m WHERE m.vessel_id = v.id AND m.kind = 'buried')
RETURNING id
