-- How an owner's vessel was last judged. Parameters: id uuid. Zero rows: nobody judged it yet.
SELECT i.rung, i.verdict, i.reason, i.evidence, i.judged_at, i.idle_since, i.bury_at, i.warned_at,
       m.sent_at AS told_at, m.trouble, i.called_at, i.kept_until, i.kept_why, i.keep_to, i.keeps_left,
       i.lives_until
FROM idle i
LEFT JOIN LATERAL (
  SELECT m.sent_at, m.trouble FROM message m
  WHERE m.vessel_id = i.vessel_id AND m.kind = 'warned' AND m.judged_at = i.warned_at
  ORDER BY m.id DESC LIMIT 1
) m ON true
WHERE i.vessel_id = %(id)s::uuid
