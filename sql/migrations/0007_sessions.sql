-- People's sessions. A session begins with a proof of who somebody is, and yields access tokens of
-- minutes and refresh tokens, neither of which is stored: both follow from the API's secret.

CREATE TABLE session (
  id uuid PRIMARY KEY,
  owner_id bigint NOT NULL REFERENCES owner,
  name text NOT NULL,               -- what people call them: an e-mail address that was verified
  claims jsonb NOT NULL,            -- what the identity provider said, and roles follow from
  proof bytea NOT NULL CONSTRAINT a_proof_begins_one_session UNIQUE,  -- its token's SHA-256
  client text NOT NULL DEFAULT '',
  generation int NOT NULL DEFAULT 0,  -- of the refresh token that is good
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  ended_why text
);
CREATE INDEX session_to_forget ON session (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON session TO drc_api;
