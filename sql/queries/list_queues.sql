-- Every queue: who may use it, its hosts, what they have, who waits.
-- Parameters: none. There is always the default one.
SELECT q.name, q.users,
       (SELECT coalesce(array_agg(h.name ORDER BY h.name), '{}') FROM host h
        WHERE q.name = ANY (h.queues) AND h.removed_at IS NULL AND h.committed) AS hosts,
       (SELECT count(*) FROM gpu g JOIN host h ON h.id = g.host_id
        WHERE q.name = ANY (h.queues) AND h.committed AND NOT g.removed) AS gpus,
       (SELECT count(*) FROM gpu g JOIN host h ON h.id = g.host_id
        WHERE q.name = ANY (h.queues) AND h.open AND NOT g.removed
          AND g.vessel_id IS NULL AND g.ill IS NULL) AS gpus_free,
       (SELECT count(*) FROM vessel v
        WHERE v.waiting AND q.name = ANY (v.queues)) AS waiting
FROM queue q
ORDER BY q.name <> 'default', q.name
