-- Write down whom a message goes to, before it does: whoever sends it may die of that, and its buttons
-- are theirs all the same. Parameters: id bigint, recipient text (NULL: nobody in particular).
UPDATE message SET recipient = %(recipient)s::text WHERE id = %(id)s::bigint RETURNING id
