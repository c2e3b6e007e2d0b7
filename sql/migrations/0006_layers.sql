-- Any image becomes a vessel image: what is known of the images on hosts, builds that were asked for
-- without a vessel, and vessels whose image is to be the very one of an earlier vessel.

ALTER TABLE image_on_host
  ADD COLUMN vessel_image boolean,  -- vessels start from it as it is; NULL: not looked at yet
  ADD COLUMN base text;             -- of a layer of ours: the image that it was built upon

ALTER TABLE vessel ADD COLUMN wants_digest text;

CREATE TABLE image_build (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner_id bigint NOT NULL REFERENCES owner,
  host_id int NOT NULL REFERENCES host,
  image text NOT NULL,
  state text NOT NULL DEFAULT 'building'
    CONSTRAINT a_build_goes_on_or_has_ended CHECK (state IN ('building', 'built', 'failed')),
  log text NOT NULL DEFAULT '',
  digest text,
  layer text,
  reason text,
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz
);

ALTER TABLE outbox
  ADD COLUMN build_id bigint,
  DROP CONSTRAINT a_verb_is_known,
  DROP CONSTRAINT work_is_for_a_vessel_or_a_host;
ALTER TABLE outbox
  ADD CONSTRAINT a_verb_is_known
    CHECK (verb IN ('start', 'stop', 'keys', 'log', 'probe', 'leave', 'layer')),
  ADD CONSTRAINT work_is_for_a_vessel_or_a_host
    CHECK ((verb IN ('probe', 'leave', 'layer')) = (vessel_id IS NULL)),
  ADD CONSTRAINT a_layer_is_built_for_a_build CHECK ((verb = 'layer') = (build_id IS NOT NULL));

GRANT SELECT, INSERT, UPDATE, DELETE ON image_build TO drc_api;
GRANT SELECT ON image_build TO drc_conductor;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO drc_api;
