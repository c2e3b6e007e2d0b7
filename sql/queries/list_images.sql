-- The images on hosts, each with the hosts that have it; not what vessels left there.
-- Parameters: none. Zero rows: no host has any.
SELECT i.image, bool_and(i.vessel_image) AS vessel_image, max(i.base) AS base,
       array_agg(h.name ORDER BY h.name) AS hosts
FROM image_on_host i
JOIN host h ON h.id = i.host_id
WHERE h.removed_at IS NULL AND NOT starts_with(i.image, 'drc/saved:')
GROUP BY i.image
ORDER BY i.image
