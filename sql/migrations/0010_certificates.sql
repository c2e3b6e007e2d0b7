-- SSH certificates: what was signed, so that it can be revoked before it runs out by itself.

CREATE TABLE certificate (
  serial bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner_id bigint NOT NULL REFERENCES owner,
  fingerprint text NOT NULL,        -- of the key that was certified
  session_id uuid REFERENCES session ON DELETE CASCADE,  -- which asked for it, and ends it
  token_id bigint REFERENCES token, -- or that
  issued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE INDEX certificate_of_owner ON certificate (owner_id, expires_at);
CREATE INDEX certificate_to_forget ON certificate (expires_at);
CREATE INDEX certificate_of_session ON certificate (session_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON certificate TO drc_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO drc_api;

-- Have keys and revocations of an owner written again into each vessel that is up or coming up.
-- Returns how many.
CREATE FUNCTION queue_keys(of_owner bigint) RETURNS bigint LANGUAGE sql AS $$
  WITH queued AS (
    INSERT INTO outbox (verb, host_id, vessel_id, attempt)
    SELECT 'keys', host_id, id, attempt FROM vessel
    WHERE owner_id = of_owner AND state IN ('starting', 'running', 'unreachable')
    ON CONFLICT (vessel_id, verb) WHERE verb IN ('keys', 'log') DO UPDATE
    SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp()
    RETURNING 1
  )
  SELECT count(*) FROM queued
$$;
