-- Add a queue, or change who may use one.
-- Parameters: name text, users text[] (NULL: everybody).
INSERT INTO queue (name, users) VALUES (%(name)s::text, %(users)s::text[])
ON CONFLICT (name) DO UPDATE SET users = EXCLUDED.users
RETURNING name
