-- What Prometheus is to scrape: the exporters on hosts, and our own programs.

ALTER TABLE host
  -- where its dcgm-exporter is, as ADDRESS:PORT; `none`: it has none; NULL: port 9400 of its address
  ADD COLUMN exporter text,
  -- a folder on it, where conductors write for the exporter who holds which GPU; NULL: nowhere
  ADD COLUMN job_mapping text;

-- Programs that have metrics of their own. Each says again and again that it is there; one that
-- ends in order takes its row away, one that dies leaves it, and is seen to be down.
CREATE TABLE program (
  kind text NOT NULL CONSTRAINT a_program_is_known CHECK (kind IN ('api', 'conductor')),
  name text NOT NULL,
  address text NOT NULL,  -- ADDRESS:PORT
  tls boolean NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON program TO drc_api, drc_conductor;
