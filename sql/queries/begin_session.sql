-- Begin a session for an owner, once for each proof.
-- Parameters: id uuid, owner_id bigint, name text, claims jsonb, proof bytea, client text,
-- life interval. Always a row; a proof that was used is a violation of a_proof_begins_one_session.
WITH s AS (
  INSERT INTO session (id, owner_id, name, claims, proof, client, expires_at)
  VALUES (%(id)s::uuid, %(owner_id)s::bigint, %(name)s::text, %(claims)s::jsonb, %(proof)s::bytea,
          %(client)s::text, now() + %(life)s::interval)
  RETURNING id, name, client, expires_at
),
o AS (
  UPDATE owner SET claims = %(claims)s::jsonb, name = %(name)s::text
  WHERE id = %(owner_id)s::bigint
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'login', name,
         jsonb_build_object('session', id, 'client', client)
  FROM s
)
SELECT expires_at FROM s
