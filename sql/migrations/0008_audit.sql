-- Who changed what, and who was refused. Written by the statement that makes the change, so that
-- there is none without it; nobody but the owner of the schema can change or delete a row.

CREATE TABLE audit (
  id bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor jsonb NOT NULL,             -- who, subject, signer and token, and the address they came from
  who text GENERATED ALWAYS AS (actor ->> 'who') STORED,
  action text NOT NULL,             -- the permission that it takes, or login and logout
  target text NOT NULL DEFAULT '',  -- the name of what it was done to
  result text NOT NULL DEFAULT 'done',  -- or the code of the refusal
  detail jsonb NOT NULL DEFAULT '{}'
) PARTITION BY RANGE (at);
CREATE INDEX audit_of_all ON audit (at DESC, id DESC);
CREATE INDEX audit_of_one ON audit (who, at DESC);

-- A partition for this month and the two that follow; how many were missing. Its caller may do no
-- more than have them made: without one for today nothing could be audited, and so nothing changed.
CREATE FUNCTION make_audit_partitions() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  month timestamp;
  made int := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(7165284);
  FOR n IN 0..2 LOOP
    month := date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month';
    IF to_regclass(to_char(month, '"audit_"YYYY_MM')) IS NULL THEN
      EXECUTE format('CREATE TABLE %I PARTITION OF audit FOR VALUES FROM (%L) TO (%L)',
                     to_char(month, '"audit_"YYYY_MM'), month AT TIME ZONE 'UTC',
                     (month + interval '1 month') AT TIME ZONE 'UTC');
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END $$;
REVOKE ALL ON FUNCTION make_audit_partitions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_audit_partitions() TO drc_api;
SELECT make_audit_partitions();

GRANT SELECT, INSERT ON audit TO drc_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO drc_api;
