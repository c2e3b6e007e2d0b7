-- Have the owner's keys written again into each of the vessels that are up or coming up.
-- Parameters: owner_id bigint. Always a row.
SELECT queue_keys(%(owner_id)s::bigint, %(request)s::text) AS vessels
