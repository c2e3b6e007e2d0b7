-- Our programs that have metrics, and were there not long ago.
-- Parameters: age interval. Zero rows: none.
SELECT kind, name, address, tls FROM program
WHERE seen_at > now() - %(age)s::interval
ORDER BY kind, name
