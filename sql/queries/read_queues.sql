-- The queues of some names, and who may use them.
-- Parameters: names text[]. Zero rows: there are none of those names.
SELECT name, users FROM queue WHERE name = ANY (%(names)s::text[])
