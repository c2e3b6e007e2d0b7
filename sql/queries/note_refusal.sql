-- Write down that somebody was refused. Parameters: action text, target text, result text, detail jsonb.
INSERT INTO audit (actor, action, target, result, detail)
VALUES (%(actor)s::jsonb, %(action)s::text, %(target)s::text, %(result)s::text, %(detail)s::jsonb)
RETURNING id
