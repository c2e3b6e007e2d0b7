-- Vessels past a named limit: nobody started them, or they did not come up. One whose home is to come
-- yet has time.
-- Parameters: reserved_limit interval, starting_limit interval. Zero rows: all is in time.
SELECT id, attempt, state FROM vessel
WHERE (state = 'reserved' AND state_since < now() - %(reserved_limit)s::interval)
   OR (state = 'starting' AND image_ready_at < now() - %(starting_limit)s::interval AND home_from IS NULL)
