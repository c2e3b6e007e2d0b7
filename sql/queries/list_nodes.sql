-- Living vessels with an address in a tailnet. Parameters: none. Zero rows: none has one.
SELECT v.id AS vessel_id, v.attempt, v.name, v.state, v.host_id, o.login, o.uid, v.device, b.number AS berth,
       v.ssh_address AS kept_ipv4
FROM vessel v
JOIN owner o ON o.id = v.owner_id
JOIN berth b ON b.vessel_id = v.id
WHERE v.living AND v.device IS NOT NULL
ORDER BY v.id
