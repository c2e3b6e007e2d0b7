-- Homes that come along to another host.

-- The host whose home of its owner's is to be brought before it begins; NULL: none, or it is there.
ALTER TABLE vessel ADD COLUMN home_from int REFERENCES host ON DELETE SET NULL;
CREATE INDEX vessel_brings_home ON vessel (home_from) WHERE home_from IS NOT NULL;

-- Of a home that was brought: from where, and of when it has all that was there.
ALTER TABLE home
  ADD COLUMN came_from int REFERENCES host ON DELETE SET NULL,
  ADD COLUMN came_at timestamptz;

GRANT SELECT ON home TO drc_conductor;
