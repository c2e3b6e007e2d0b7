-- Owners, keys, hosts, GPUs, vessels and their work.

CREATE TABLE installation (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  one boolean NOT NULL DEFAULT true,
  CONSTRAINT there_is_one_installation UNIQUE (one),
  CONSTRAINT one_is_true CHECK (one)
);
INSERT INTO installation DEFAULT VALUES;

-- People. A uid is given once and kept for ever: homes outlive everything else.
CREATE SEQUENCE owner_uid START 20000 MAXVALUE 2000000000;
CREATE TABLE owner (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subject text NOT NULL CONSTRAINT a_subject_is_one_owner UNIQUE,
  login text NOT NULL CONSTRAINT a_login_is_one_owner UNIQUE,
  uid int NOT NULL DEFAULT nextval('owner_uid') CONSTRAINT a_uid_is_one_owner UNIQUE,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ssh_key (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner_id bigint NOT NULL REFERENCES owner,
  name text NOT NULL,
  line text NOT NULL,
  fingerprint text NOT NULL,
  added_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT a_key_is_added_once UNIQUE (owner_id, fingerprint),
  CONSTRAINT a_key_name_is_used_once UNIQUE (owner_id, name)
);

-- Hosts. What may be promised is in millicpus and MiB; *_free is what is not promised yet.
CREATE TABLE host (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL CONSTRAINT a_host_name_is_used_once UNIQUE,
  ssh_user text NOT NULL,
  ssh_address text NOT NULL,
  ssh_port int NOT NULL DEFAULT 22,
  ssh_host_key text NOT NULL,
  docker_socket text NOT NULL DEFAULT '/var/run/docker.sock',
  address text NOT NULL DEFAULT '127.0.0.1',
  ports_from int NOT NULL DEFAULT 22000,
  simulate text,
  open boolean NOT NULL DEFAULT false,
  ill text,
  docker_version text,
  cpus int NOT NULL DEFAULT 0,
  n_gpus int NOT NULL DEFAULT 0,
  millicpus int NOT NULL DEFAULT 0,
  millicpus_free int NOT NULL DEFAULT 0,
  millicpus_per_gpu int GENERATED ALWAYS AS (millicpus / greatest(n_gpus, 1)) STORED,
  memory_mib int NOT NULL DEFAULT 0,
  memory_free_mib int NOT NULL DEFAULT 0,
  memory_per_gpu_mib int GENERATED ALWAYS AS (memory_mib / greatest(n_gpus, 1)) STORED,
  added_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz,
  CONSTRAINT a_host_promises_no_more_cpus_than_it_has CHECK (millicpus_free >= 0),
  CONSTRAINT a_host_promises_no_more_memory_than_it_has CHECK (memory_free_mib >= 0)
) WITH (fillfactor = 70);

-- The models there are: `any model` in a request means each of these.
CREATE TABLE gpu_model (model text PRIMARY KEY);

-- How many GPUs of one model and size a host has free: the gate of the search, in best-fit order.
CREATE TABLE gpu_count (
  host_id int NOT NULL REFERENCES host,
  model text NOT NULL REFERENCES gpu_model,
  memory_mib int NOT NULL,
  n_free smallint NOT NULL,
  PRIMARY KEY (host_id, model, memory_mib),
  CONSTRAINT a_count_is_not_negative CHECK (n_free >= 0)
) WITH (fillfactor = 70);
CREATE INDEX gpu_count_fit ON gpu_count (model, memory_mib, n_free, host_id);

CREATE TABLE vessel (
  id uuid PRIMARY KEY,
  owner_id bigint NOT NULL REFERENCES owner,
  name text NOT NULL,
  state text NOT NULL CONSTRAINT a_state_is_known CHECK (state IN
    ('queued', 'reserved', 'starting', 'running', 'unreachable', 'stopping', 'buried', 'failed')),
  outcome text NOT NULL DEFAULT 'buried'
    CONSTRAINT an_outcome_is_an_end CHECK (outcome IN ('buried', 'failed')),
  reason text,
  attempt int NOT NULL DEFAULT 1,
  -- what was asked for; NULL means the default
  gpus smallint NOT NULL CONSTRAINT gpus_are_counted CHECK (gpus BETWEEN 0 AND 1024),
  models text[],
  gpu_memory_mib int NOT NULL DEFAULT 0,
  wants_millicpus int,
  wants_memory_mib int,
  wants_host text,
  shm_mib int,
  image text NOT NULL,
  env jsonb NOT NULL DEFAULT '{}',
  lifetime interval NOT NULL,
  -- what it was given
  host_id int REFERENCES host,
  millicpus int,
  memory_mib int,
  image_digest text,
  ssh_address text,
  ssh_port int,
  ends_at timestamptz,
  -- proof and repetition
  token_hash bytea NOT NULL,
  idempotency_key text,
  request_hash bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  state_since timestamptz NOT NULL DEFAULT clock_timestamp(),
  image_ready_at timestamptz,
  CONSTRAINT a_vessel_on_a_host_knows_its_share
    CHECK (host_id IS NULL OR (millicpus IS NOT NULL AND memory_mib IS NOT NULL)),
  CONSTRAINT a_vessel_beyond_the_queue_has_a_host
    CHECK (host_id IS NOT NULL OR state IN ('queued', 'buried', 'failed'))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX a_name_serves_one_living_vessel ON vessel (owner_id, name)
  WHERE state NOT IN ('buried', 'failed');
CREATE UNIQUE INDEX a_request_is_made_once ON vessel (owner_id, idempotency_key);
CREATE INDEX vessel_by_name ON vessel (owner_id, name, created_at DESC);
CREATE INDEX vessel_waiting ON vessel (created_at, id) WHERE state = 'queued';
CREATE INDEX vessel_living ON vessel (host_id, state) WHERE state NOT IN ('buried', 'failed');

-- One row per GPU. It has one vessel_id, so no GPU can serve two.
CREATE TABLE gpu (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  host_id int NOT NULL REFERENCES host,
  uuid text NOT NULL CONSTRAINT a_gpu_is_on_one_host UNIQUE,
  idx smallint NOT NULL,
  name text NOT NULL,
  model text NOT NULL,
  memory_mib int NOT NULL,
  simulated boolean NOT NULL DEFAULT false,
  vessel_id uuid REFERENCES vessel,
  CONSTRAINT a_gpu_index_is_used_once UNIQUE (host_id, idx)
) WITH (fillfactor = 70);
CREATE INDEX gpu_free ON gpu (host_id, model, memory_mib, idx) WHERE vessel_id IS NULL;
CREATE INDEX gpu_of_vessel ON gpu (vessel_id) WHERE vessel_id IS NOT NULL;

-- Who held which GPU from when to when; only ever appended to, then closed.
CREATE TABLE held (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  vessel_id uuid NOT NULL REFERENCES vessel,
  attempt int NOT NULL,
  gpu_id int NOT NULL REFERENCES gpu,
  from_at timestamptz NOT NULL DEFAULT now(),
  until_at timestamptz
);
CREATE UNIQUE INDEX a_gpu_is_held_once_at_a_time ON held (gpu_id) WHERE until_at IS NULL;
CREATE INDEX held_by_vessel ON held (vessel_id) WHERE until_at IS NULL;

-- A network container of a host, waiting or in use. Its number gives its SSH port.
CREATE TABLE berth (
  host_id int NOT NULL REFERENCES host,
  number int NOT NULL CHECK (number BETWEEN 1 AND 4000),
  vessel_id uuid REFERENCES vessel CONSTRAINT a_vessel_has_one_berth UNIQUE,
  ready boolean NOT NULL DEFAULT false,
  made_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (host_id, number)
);

-- Work for conductors. A claim is a lease on the database's clock; `generation` grows when the
-- row's meaning changes under a claim, so that finishing the old work does not end the new.
CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  verb text NOT NULL CONSTRAINT a_verb_is_known
    CHECK (verb IN ('start', 'stop', 'keys', 'log', 'probe')),
  host_id int NOT NULL REFERENCES host,
  vessel_id uuid REFERENCES vessel,
  attempt int,
  generation int NOT NULL DEFAULT 1,
  tries int NOT NULL DEFAULT 0,
  run_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  claimed_by text,
  lease_until timestamptz,
  trouble text,
  CONSTRAINT work_is_for_a_vessel_or_a_host CHECK ((verb = 'probe') = (vessel_id IS NULL))
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX a_vessel_has_one_work_of_life ON outbox (vessel_id)
  WHERE verb IN ('start', 'stop');
CREATE UNIQUE INDEX a_vessel_has_one_work_of_care ON outbox (vessel_id, verb)
  WHERE verb IN ('keys', 'log');
CREATE UNIQUE INDEX a_host_has_one_probe ON outbox (host_id) WHERE verb = 'probe';
CREATE INDEX outbox_due ON outbox (run_at);

-- What happened, for people. `xid` orders it for readers that follow along: ids are not handed
-- out in the order of commits.
CREATE TABLE event (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind text NOT NULL,
  owner_id bigint,
  vessel_id uuid,
  attempt int,
  data jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX event_follow ON event (xid, id);
CREATE INDEX event_of_vessel ON event (vessel_id, id);

-- The last lines of a vessel's own log, as its conductor fetched them.
CREATE TABLE vessel_log (
  vessel_id uuid PRIMARY KEY REFERENCES vessel,
  text text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The programs' roles. Who logs in as them is the installation's business (drc up, or yours).
DO $$
DECLARE r text;
BEGIN
  FOREACH r IN ARRAY ARRAY['drc_api', 'drc_conductor', 'drc_undertaker'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
      EXECUTE format('CREATE ROLE %I', r);
    END IF;
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO drc_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO drc_api;
GRANT SELECT ON installation, owner, host, gpu, vessel TO drc_conductor;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, berth TO drc_conductor;
GRANT SELECT ON owner, host, gpu, vessel, held TO drc_undertaker;
