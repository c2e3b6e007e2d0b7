-- Close a host to new vessels, or open it again. What is on it stays.
-- Parameters: name text, cordoned boolean. Zero rows: no such host.
UPDATE host SET cordoned = %(cordoned)s::boolean WHERE name = %(name)s::text AND removed_at IS NULL
RETURNING id
