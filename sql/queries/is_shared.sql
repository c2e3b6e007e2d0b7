-- Whether a living vessel shares the GPUs of another.
-- Parameters: id uuid, the other's. Zero rows: none does.
SELECT id FROM vessel
WHERE shares_id = %(id)s::uuid AND living
LIMIT 1
