-- Give a host that does not answer to nobody, until it does.
-- Parameters: id int, why text. Zero rows: it is ill already, or there is no such host.
UPDATE host SET ill = 'silent: ' || %(why)s::text
WHERE id = %(id)s::int AND removed_at IS NULL AND ill IS NULL
RETURNING id
