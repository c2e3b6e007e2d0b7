-- Vessels that ended and whose device may be there yet: those of these devices, and all of late, of
-- which a device may never have been told.
-- Parameters: devices text[]. Zero rows: there is none.
SELECT v.device, v.name, o.login
FROM vessel v JOIN owner o ON o.id = v.owner_id
WHERE NOT v.living
  AND (v.device = ANY (%(devices)s::text[]) OR v.state_since > now() - interval '1 day')
