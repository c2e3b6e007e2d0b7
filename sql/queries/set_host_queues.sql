-- Put a host into other queues; a trigger moves its counters with it. What waits in one of them is
-- looked at again by whoever asked.
-- Parameters: name text, queues text[] (sorted). Zero rows: no such host.
UPDATE host SET queues = %(queues)s::text[]
WHERE name = %(name)s::text AND removed_at IS NULL
RETURNING id
