-- Addresses in a tailnet: an owner's vessel of a name has the same one whenever it is there.

CREATE TABLE address (
  owner_id bigint NOT NULL REFERENCES owner,
  name text NOT NULL,
  ipv4 inet NOT NULL CONSTRAINT an_address_is_one_vessels UNIQUE,
  ipv6 inet,
  dns_name text,                  -- by which its tailnet resolves it
  since timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (owner_id, name)
);

ALTER TABLE vessel ADD COLUMN device text;  -- the node's id, as the control plane calls it
CREATE INDEX vessel_of_device ON vessel (device) WHERE device IS NOT NULL;
CREATE INDEX vessel_ended ON vessel (state_since) WHERE NOT living;

GRANT SELECT, INSERT, UPDATE, DELETE ON address TO drc_api;
GRANT SELECT ON address TO drc_conductor;
