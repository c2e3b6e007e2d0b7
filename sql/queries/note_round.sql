-- What a round over a host mended, and who else is on its GPUs. A stranger that is new there is told
-- to the operators, and to whoever holds the GPU. Where its cards are not those in the books, or its
-- machine was started since, it is looked at again.
-- Parameters: id int, mended jsonb (counts by what), strangers jsonb (NULL: not looked for),
--   cards text[] (UUIDs; NULL: not looked for), boot text (of its machine; NULL: not looked for).
-- Zero rows: no such host.
WITH h AS MATERIALIZED (
  SELECT id, name, facts, strangers AS before FROM host
  WHERE id = %(id)s::int AND removed_at IS NULL
  FOR NO KEY UPDATE
),
u AS (
  UPDATE host SET strangers = coalesce(%(strangers)s::jsonb, strangers), seen_at = now()
  FROM h WHERE host.id = h.id
),
m AS (
  INSERT INTO mended (what, n) SELECT key, value::bigint FROM h, jsonb_each_text(%(mended)s::jsonb)
  ORDER BY key  -- as everybody does, so that no two lock each other out
  ON CONFLICT (what) DO UPDATE SET n = mended.n + EXCLUDED.n
),
s AS (
  INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
  SELECT 'stranger', v.owner_id, v.id, v.attempt,
         s.stranger || jsonb_build_object('host', h.name, 'index', g.idx), %(request)s::text
  FROM h
  CROSS JOIN jsonb_array_elements(%(strangers)s::jsonb) AS s (stranger)
  LEFT JOIN gpu g ON g.host_id = h.id AND g.uuid = s.stranger->>'gpu' AND NOT g.removed
  LEFT JOIN vessel v ON v.id = g.vessel_id
  WHERE NOT EXISTS (
    SELECT FROM jsonb_array_elements(h.before) AS b (stranger)
    WHERE (b.stranger->>'gpu', b.stranger->>'pid') = (s.stranger->>'gpu', s.stranger->>'pid'))
),
o AS (
  INSERT INTO outbox (verb, host_id, request)
  SELECT 'probe', h.id, %(request)s::text FROM h
  WHERE h.facts->>'boot' <> %(boot)s::text OR EXISTS (
    SELECT FROM (SELECT uuid FROM gpu WHERE gpu.host_id = h.id AND NOT removed AND NOT simulated
                 AND (ill IS NULL OR ill NOT LIKE 'gone:%%')) b
    FULL JOIN unnest(%(cards)s::text[]) AS c (uuid) ON c.uuid = b.uuid
    WHERE (b.uuid IS NULL OR c.uuid IS NULL) AND %(cards)s::text[] IS NOT NULL)
  ON CONFLICT (host_id) WHERE verb = 'probe' DO NOTHING
)
SELECT id FROM h
