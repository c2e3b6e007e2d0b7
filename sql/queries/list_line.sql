-- Who waits in a queue, in the order in which they are served.
-- Parameters: queue text. Zero rows: nobody.
SELECT v.name, o.login AS owner, v.gpus, v.models, v.created_at
FROM vessel v JOIN owner o ON o.id = v.owner_id
WHERE v.waiting AND %(queue)s::text = ANY (v.queues)
ORDER BY v.created_at, v.id
LIMIT 1000
