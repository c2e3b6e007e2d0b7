-- What is wrong with hosts and GPUs: what measurements let one suspect, what looks found, who was told.

-- What Prometheus lets the undertaker suspect of a GPU. A look at its host says what is true.
CREATE TABLE doubt (
  gpu_id int NOT NULL REFERENCES gpu,
  sign text NOT NULL CONSTRAINT a_sign_is_known CHECK (sign IN ('missing', 'xid', 'ecc', 'remap')),
  value bigint NOT NULL,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (gpu_id, sign)
);

-- Something that is wrong for a while. One that comes back before it was called over is the same.
CREATE TABLE trouble (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  host_id int NOT NULL REFERENCES host,
  gpu_id int REFERENCES gpu,        -- NULL: it is the host's
  vessel_id uuid REFERENCES vessel, -- NULL: it is no one vessel's
  detail text NOT NULL,
  vessels uuid[] NOT NULL DEFAULT '{}',  -- whom it concerned when it began
  began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  returns int NOT NULL DEFAULT 0,   -- how often it was over and then was not
  told_at timestamptz,
  over_at timestamptz               -- when it was called over, which is some time after its end
);
CREATE UNIQUE INDEX a_trouble_is_open_once ON trouble
  (kind, host_id, coalesce(gpu_id, 0), coalesce(vessel_id, '00000000-0000-0000-0000-000000000000'))
  WHERE over_at IS NULL;
CREATE INDEX trouble_of_host ON trouble (host_id, id);

-- A reason for being ill that an operator looked at and let pass; another one counts again.
ALTER TABLE gpu ADD COLUMN accepted text;

-- Messages to the operators have no owner, and some are about no one vessel.
ALTER TABLE message
  ALTER COLUMN vessel_id DROP NOT NULL,
  ALTER COLUMN owner_id DROP NOT NULL,
  DROP CONSTRAINT a_kind_is_known,
  ADD CONSTRAINT a_kind_is_known CHECK (kind IN ('warned', 'called', 'buried', 'trouble', 'well')),
  ADD CONSTRAINT idleness_is_a_vessels
    CHECK (kind IN ('trouble', 'well') OR (vessel_id IS NOT NULL AND owner_id IS NOT NULL));

GRANT SELECT, INSERT, UPDATE, DELETE ON doubt, trouble TO drc_api;
GRANT SELECT ON doubt TO drc_undertaker;
GRANT SELECT, UPDATE ON trouble TO drc_undertaker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO drc_api, drc_undertaker;
