-- Hosts that are emptied at an hour that was said beforehand.

ALTER TABLE host
  ADD COLUMN drain_at timestamptz,   -- its vessels end then; NULL: they do not
  ADD COLUMN drain_why text,
  ADD COLUMN drain_moves boolean NOT NULL DEFAULT false;  -- and are created again elsewhere

-- It ended because its host is drained, and is to be created again elsewhere.
ALTER TABLE vessel ADD COLUMN moves boolean NOT NULL DEFAULT false;
CREATE INDEX vessel_moving ON vessel (id) WHERE moves;

ALTER TABLE message
  DROP CONSTRAINT a_kind_is_known,
  ADD CONSTRAINT a_kind_is_known
    CHECK (kind IN ('warned', 'called', 'buried', 'trouble', 'well', 'draining')),
  DROP CONSTRAINT idleness_is_a_vessels,
  ADD CONSTRAINT idleness_is_a_vessels
    CHECK (kind IN ('trouble', 'well', 'draining') OR (vessel_id IS NOT NULL AND owner_id IS NOT NULL));

-- A reboot closes it until somebody has looked.
ALTER TABLE host ADD COLUMN cordon_on_reboot boolean NOT NULL DEFAULT false;

-- What is asked for by a host's name.
CREATE INDEX event_of_host ON event ((data->>'host'), at) WHERE kind IN ('host_ill', 'host_changed');
CREATE INDEX audit_of_host ON audit (target, at) WHERE action = 'hosts:write';
