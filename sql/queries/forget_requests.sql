-- Idempotency keys are kept for a day.
-- Parameters: age interval. Zero rows: none is that old.
UPDATE vessel SET idempotency_key = NULL
WHERE idempotency_key IS NOT NULL AND created_at < now() - %(age)s::interval
RETURNING id
