-- Personal access tokens, for scripts: stored as a hash, and no stronger than their owner is now.

-- What the provider said of an owner when they last signed in; the roles of their tokens follow.
ALTER TABLE owner ADD COLUMN claims jsonb, ADD COLUMN name text;

CREATE TABLE token (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner_id bigint NOT NULL REFERENCES owner,
  name text NOT NULL,
  hash bytea NOT NULL UNIQUE,       -- SHA-256
  permissions text[] NOT NULL,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  used_at timestamptz,              -- to a minute
  used_from text,
  revoked_at timestamptz
);
CREATE UNIQUE INDEX an_owner_names_a_token_once ON token (owner_id, name) WHERE revoked_at IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON token TO drc_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO drc_api;
