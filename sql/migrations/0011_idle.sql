-- Idleness: how far each vessel has come on the way to its burial, and what its owner was told.

CREATE TABLE message (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  vessel_id uuid NOT NULL REFERENCES vessel,
  owner_id bigint NOT NULL REFERENCES owner,
  kind text NOT NULL CONSTRAINT a_kind_is_known CHECK (kind IN ('warned', 'called', 'buried')),
  body jsonb NOT NULL,
  judged_at timestamptz NOT NULL DEFAULT now(),  -- when the vessel was, of which it tells
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  run_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  tries int NOT NULL DEFAULT 0,
  in_hand boolean NOT NULL DEFAULT false,  -- it is being sent, or whoever sent it died of it
  sent_at timestamptz,
  given_up_at timestamptz,
  trouble text
);
CREATE INDEX message_due ON message (run_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX message_of_vessel ON message (vessel_id, id);

CREATE TABLE idle (
  vessel_id uuid PRIMARY KEY REFERENCES vessel,
  rung text NOT NULL CONSTRAINT a_rung_is_known CHECK (rung IN ('active', 'warned', 'called')),
  verdict text NOT NULL,
  reason text NOT NULL,
  evidence jsonb NOT NULL DEFAULT '{}',  -- window, samples, averages of each GPU, policy
  judged_at timestamptz NOT NULL,
  idle_since timestamptz,
  bury_at timestamptz,              -- should it stay idle
  warned_at timestamptz,
  called_at timestamptz,
  kept_until timestamptz,
  kept_why text,
  keeps int NOT NULL DEFAULT 0,     -- since it was last busy
  keep_to timestamptz NOT NULL,     -- the farthest that one more would reach
  keeps_left int NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON idle, message TO drc_api;
GRANT SELECT, INSERT, UPDATE ON idle, message TO drc_undertaker;
GRANT INSERT ON event TO drc_undertaker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO drc_api, drc_undertaker;
