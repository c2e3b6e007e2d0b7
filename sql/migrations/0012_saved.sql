-- What is in a vessel beside its home may be kept as an image on its host when it ends.

ALTER TABLE vessel
  ADD COLUMN save boolean NOT NULL DEFAULT false,
  ADD COLUMN saved_image text;      -- its name there
