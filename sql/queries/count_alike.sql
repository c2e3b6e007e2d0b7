-- How many vessels wait for the same.
-- Parameters: shape bigint.
SELECT count(*) AS n FROM vessel WHERE state = 'queued' AND shape = %(shape)s::bigint
