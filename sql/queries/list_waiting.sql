-- The waiting vessels, in the order in which they are served.
-- Parameters: none. Zero rows: nobody waits.
SELECT id FROM vessel WHERE state = 'queued' ORDER BY created_at, id
