-- Change what is set of a host: where its exporter is, where on it is written who holds which GPU, and
-- whether a reboot closes it.
-- Parameters: name text, changes jsonb (exporter: ADDRESS:PORT, `none`, or null: where it is by default;
--   job_mapping: a folder, or null: nowhere; cordon_on_reboot: boolean). What is left out stays.
-- Zero rows: no such host.
WITH h AS (
  UPDATE host
  SET exporter = CASE WHEN %(changes)s::jsonb ? 'exporter' THEN %(changes)s::jsonb->>'exporter'
                      ELSE exporter END,
      job_mapping = CASE WHEN %(changes)s::jsonb ? 'job_mapping' THEN %(changes)s::jsonb->>'job_mapping'
                         ELSE job_mapping END,
      cordon_on_reboot = coalesce((%(changes)s::jsonb->>'cordon_on_reboot')::boolean, cordon_on_reboot)
  WHERE name = %(name)s::text AND removed_at IS NULL
  RETURNING id, name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name, %(changes)s::jsonb || '{"verb": "set"}'
  FROM h
)
SELECT id FROM h
