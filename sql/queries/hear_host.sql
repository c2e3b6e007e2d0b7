-- A host that was silent answers: it takes vessels again, where nothing else is wrong with it.
-- Parameters: id int. Zero rows: it was not silent.
UPDATE host SET ill = NULL
WHERE id = %(id)s::int AND removed_at IS NULL AND ill LIKE 'silent:%%'
RETURNING id
