-- The vessel that an idempotency key made before.
-- Parameters: owner_id bigint, idempotency_key text. Zero rows: the key is new.
SELECT id, request_hash FROM vessel
WHERE owner_id = %(owner_id)s::bigint AND idempotency_key = %(idempotency_key)s::text
