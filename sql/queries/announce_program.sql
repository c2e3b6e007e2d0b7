-- A program is there, and has its metrics at an address.
-- Parameters: kind text, name text, address text, tls boolean, rest interval.
-- Zero rows: it said the same less than `rest` ago.
INSERT INTO program AS p (kind, name, address, tls)
VALUES (%(kind)s::text, %(name)s::text, %(address)s::text, %(tls)s::boolean)
ON CONFLICT (kind, name) DO UPDATE
SET address = EXCLUDED.address, tls = EXCLUDED.tls, seen_at = now()
WHERE p.seen_at < now() - %(rest)s::interval OR (p.address, p.tls) <> (EXCLUDED.address, EXCLUDED.tls)
RETURNING name
