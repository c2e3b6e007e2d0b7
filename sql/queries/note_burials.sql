-- Tell owners of vessels that the undertaker buried, once each: by what it wrote down before it asked.
-- Those that shared the GPUs of one ended with it.
-- Parameters: none. Zero rows: they were told.
INSERT INTO message (vessel_id, owner_id, kind, body)
SELECT v.id, v.owner_id, 'buried',
       jsonb_build_object('vessel', v.name, 'reason', i.reason, 'host', h.name,
                          'zone', i.evidence -> 'policy' ->> 'zone',
                          'save', i.evidence -> 'policy' -> 'save' = 'true' AND v.shares_id IS NULL)
FROM idle i
JOIN vessel v ON v.id = i.vessel_id OR v.shares_id = i.vessel_id
LEFT JOIN host h ON h.id = v.host_id
WHERE i.verdict = 'bury' AND v.state IN ('stopping', 'buried')
  AND position(i.reason IN v.reason) > 0 AND v.state_since > now() - interval '30 days'
  AND NOT EXISTS (SELECT FROM message m WHERE m.vessel_id = v.id AND m.kind = 'buried')
ON CONFLICT DO NOTHING
RETURNING id
