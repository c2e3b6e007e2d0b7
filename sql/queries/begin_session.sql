-- Begin a session for an owner, once for each proof.
-- Parameters: id uuid, owner_id bigint, name text, claims jsonb, proof bytea, client text,
-- life interval. Always a row; a proof that was used is a violation of a_proof_begins_one_session.
INSERT INTO session (id, owner_id, name, claims, proof, client, expires_at)
VALUES (%(id)s::uuid, %(owner_id)s, %(name)s, %(claims)s, %(proof)s, %(client)s,
        now() + %(life)s::interval)
RETURNING expires_at
