-- What the rounds over the hosts found and mended, for people and for Prometheus.

-- Processes on a host's GPUs that run in no vessel: gpu (UUID), pid, program, memory_mib, container.
ALTER TABLE host ADD COLUMN strangers jsonb NOT NULL DEFAULT '[]';

-- How often something had to be mended, by what it was, since the beginning.
CREATE TABLE mended (
  what text PRIMARY KEY,
  n    bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON mended TO drc_api;
