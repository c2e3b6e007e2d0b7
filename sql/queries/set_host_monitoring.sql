-- Say where a host's exporter is, or where on it is written who holds which GPU.
-- Parameters: name text, sets_exporter boolean, exporter text (ADDRESS:PORT, `none`, or NULL: where
--   it is by default), sets_job_mapping boolean, job_mapping text (a folder; NULL: nowhere).
-- Zero rows: no such host.
WITH h AS (
  UPDATE host
  SET exporter = CASE WHEN %(sets_exporter)s::boolean THEN %(exporter)s::text ELSE exporter END,
      job_mapping = CASE WHEN %(sets_job_mapping)s::boolean THEN %(job_mapping)s::text
                         ELSE job_mapping END
  WHERE name = %(name)s::text AND removed_at IS NULL
  RETURNING id, name, exporter, job_mapping
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', 'set', 'exporter', exporter, 'job_mapping', job_mapping)
  FROM h
)
SELECT id FROM h
