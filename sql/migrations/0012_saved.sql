-- What is in a vessel beside its home may be kept as an image on its host when it ends.

ALTER TABLE vessel
  ADD COLUMN save boolean NOT NULL DEFAULT false,
  ADD COLUMN saved_image text,      -- its name there
  ADD COLUMN kept_until timestamptz;  -- as in `idle`: here whoever ends a vessel sees it under lock

ALTER TABLE idle ADD COLUMN kept_at timestamptz;  -- when its owner last said so
CREATE INDEX idle_of_buried ON idle (vessel_id) WHERE verdict = 'bury';
CREATE INDEX message_of_warning ON message (vessel_id, judged_at) WHERE kind = 'warned';
CREATE UNIQUE INDEX a_burial_is_told_once ON message (vessel_id) WHERE kind = 'buried';
