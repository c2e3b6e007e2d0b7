-- Queues by name, a search that finds their hosts, GPUs that are slices or gone, hosts that leave;
-- and fewer index entries for each reservation.

-- A queue is a name for some of the hosts. `users` NULL: everybody may use it.
CREATE TABLE queue (
  name text PRIMARY KEY,
  users text[],
  added_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO queue (name) VALUES ('default');

ALTER TABLE host
  DROP COLUMN open,
  ADD COLUMN queues text[] NOT NULL DEFAULT '{default}',
  ADD COLUMN facts jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN removed_at timestamptz,
  ADD COLUMN looked_at timestamptz,
  DROP CONSTRAINT a_host_name_is_used_once;
ALTER TABLE host ADD COLUMN open boolean NOT NULL GENERATED ALWAYS AS
  (probed AND committed AND NOT cordoned AND ill IS NULL AND removed_at IS NULL) STORED;
-- A look may find less than was promised already: then nothing more is, until vessels have ended.
ALTER TABLE host
  DROP CONSTRAINT a_host_promises_no_more_cpus_than_it_has,
  DROP CONSTRAINT a_host_promises_no_more_memory_than_it_has;
CREATE UNIQUE INDEX a_host_name_is_used_once ON host (name) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX a_host_is_added_once ON host (ssh_address, ssh_port, docker_socket)
  WHERE removed_at IS NULL;

-- A card may be a slice of another (`parent`), joined to others by NVLink (`island`), unfit for use
-- (`ill`, with the reason; it is given to nobody), or gone with its host.
ALTER TABLE gpu
  ADD COLUMN parent text,
  ADD COLUMN island smallint,
  ADD COLUMN ill text,
  ADD COLUMN removed boolean NOT NULL DEFAULT false,
  DROP CONSTRAINT a_gpu_is_on_one_host;
CREATE UNIQUE INDEX a_gpu_is_on_one_host ON gpu (uuid) WHERE NOT removed;
-- Who holds a card is in no index: so taking and giving it back touches none. A host has few cards.
DROP INDEX gpu_free;
DROP INDEX gpu_of_vessel;
CREATE INDEX gpu_of_host ON gpu (host_id);

-- What a search begins with: each model that a set of queues has. Model `none` is a host's place
-- for vessels without GPU; a slice is only given to who names it.
CREATE TABLE gpu_kind (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  model text NOT NULL,
  queues text[] NOT NULL,
  whole boolean NOT NULL,
  UNIQUE (model, queues)
);
INSERT INTO gpu_kind (model, queues, whole) SELECT model, '{default}', true FROM gpu_model;
INSERT INTO gpu_kind (model, queues, whole) VALUES ('none', '{default}', false);

-- A closed host's counters are out of the search's way. `none` counts the host's cards, so that
-- hosts with few are taken first.
ALTER TABLE gpu_count
  ADD COLUMN kind_id int REFERENCES gpu_kind,
  ADD COLUMN n_all smallint NOT NULL DEFAULT 0,
  ADD COLUMN open boolean NOT NULL DEFAULT false,
  DROP CONSTRAINT gpu_count_model_fkey;
INSERT INTO gpu_count (host_id, model, memory_mib, n_free) SELECT id, 'none', 0, n_gpus FROM host;
UPDATE gpu_count c
SET kind_id = k.id, open = h.open,
    n_all = (SELECT count(*) FROM gpu g WHERE (g.host_id, g.model, g.memory_mib)
                                            = (c.host_id, c.model, c.memory_mib))
FROM gpu_kind k, host h WHERE k.model = c.model AND h.id = c.host_id;
ALTER TABLE gpu_count ALTER COLUMN kind_id SET NOT NULL;
DROP TABLE gpu_model;
DROP INDEX gpu_count_fit;
CREATE INDEX gpu_count_fit ON gpu_count (kind_id, memory_mib, n_free, host_id) WHERE open;

CREATE FUNCTION open_or_close_counters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE gpu_count SET open = NEW.open WHERE host_id = NEW.id AND open <> NEW.open;
  RETURN NULL;
END $$;
CREATE FUNCTION move_counters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO gpu_kind (model, queues, whole)
  SELECT c.model, NEW.queues, bool_and(k.whole)
  FROM gpu_count c JOIN gpu_kind k ON k.id = c.kind_id
  WHERE c.host_id = NEW.id
  GROUP BY c.model
  ORDER BY c.model  -- as everybody does, so that no two lock each other out
  ON CONFLICT DO NOTHING;
  UPDATE gpu_count c SET kind_id = k.id
  FROM gpu_kind k
  WHERE c.host_id = NEW.id AND k.model = c.model AND k.queues = NEW.queues;
  RETURN NULL;
END $$;
CREATE TRIGGER a_host_is_searched_in_its_queues
  AFTER UPDATE OF queues ON host
  FOR EACH ROW WHEN (OLD.queues <> NEW.queues) EXECUTE FUNCTION move_counters();
CREATE TRIGGER a_closed_host_is_not_searched
  AFTER UPDATE OF probed, committed, cordoned, ill, removed_at ON host
  FOR EACH ROW WHEN (OLD.open <> NEW.open) EXECUTE FUNCTION open_or_close_counters();

-- Where an owner's home is, and which images a host has: what decides between equal fits.
CREATE TABLE home (
  owner_id bigint NOT NULL REFERENCES owner,
  host_id int NOT NULL REFERENCES host,
  mib bigint,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (owner_id, host_id)
);
CREATE TABLE image_on_host (
  image text NOT NULL,
  host_id int NOT NULL REFERENCES host,
  PRIMARY KEY (image, host_id)
);

-- Vessels that ask for the same wait behind each other: `shape` is a hash of what they ask for.
-- One that shares its owner's other vessel's GPUs has none of its own.
ALTER TABLE vessel
  ADD COLUMN queues text[] NOT NULL DEFAULT '{default}',
  ADD COLUMN shape bigint NOT NULL DEFAULT 0,
  ADD COLUMN told boolean NOT NULL DEFAULT false,  -- that it waits
  DROP COLUMN wants_host,
  ADD COLUMN wants_host_id int REFERENCES host,
  ADD COLUMN shares_id uuid REFERENCES vessel,
  DROP CONSTRAINT gpus_are_counted;
ALTER TABLE vessel ADD CONSTRAINT gpus_are_counted CHECK (gpus BETWEEN 0 AND 1024);
-- What indexes say of a state, so that the steps of a life that change neither touch no index.
ALTER TABLE vessel
  ADD COLUMN waiting boolean NOT NULL GENERATED ALWAYS AS (state = 'queued') STORED,
  ADD COLUMN living boolean NOT NULL
    GENERATED ALWAYS AS (state NOT IN ('buried', 'failed')) STORED;
DROP INDEX a_name_serves_one_living_vessel;
CREATE UNIQUE INDEX a_name_serves_one_living_vessel ON vessel (owner_id, name) WHERE living;
DROP INDEX vessel_waiting;
CREATE INDEX vessel_waiting ON vessel (shape, created_at, id) WHERE waiting;
CREATE INDEX vessel_sharing ON vessel (shares_id) WHERE shares_id IS NOT NULL;
DROP INDEX vessel_living;
CREATE INDEX vessel_living ON vessel (host_id) WHERE living;
DROP INDEX a_request_is_made_once;
CREATE UNIQUE INDEX a_request_is_made_once ON vessel (owner_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

-- History is found by GPU; the outbox holds what is being done. Neither needs its rows' owners
-- locked, and no statement deletes them.
ALTER TABLE held DROP COLUMN id, DROP CONSTRAINT held_vessel_id_fkey, DROP CONSTRAINT held_gpu_id_fkey;
DROP INDEX held_by_vessel;
ALTER TABLE outbox
  DROP CONSTRAINT outbox_host_id_fkey,
  DROP CONSTRAINT outbox_vessel_id_fkey,
  DROP CONSTRAINT a_verb_is_known,
  DROP CONSTRAINT work_is_for_a_vessel_or_a_host;
ALTER TABLE outbox
  ADD CONSTRAINT a_verb_is_known CHECK (verb IN ('start', 'stop', 'keys', 'log', 'probe', 'leave')),
  ADD CONSTRAINT work_is_for_a_vessel_or_a_host
    CHECK ((verb IN ('probe', 'leave')) = (vessel_id IS NULL));
CREATE UNIQUE INDEX a_host_leaves_once ON outbox (host_id) WHERE verb = 'leave';
DROP INDEX outbox_due;  -- work is claimed in the order of its id
ALTER TABLE event DROP CONSTRAINT event_pkey;
DROP INDEX event_of_vessel;
CREATE INDEX event_of_owner ON event (owner_id, xid, id);

GRANT SELECT, INSERT, UPDATE, DELETE ON queue, gpu_kind, home, image_on_host TO drc_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO drc_api;
