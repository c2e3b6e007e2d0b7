-- Vessels that ended, and whose device may be there yet: those of these devices, and all of late, of
-- which a device may never have been told.
-- Parameters: devices text[], since interval (for which none of that name may have lived).
-- Zero rows: there is none.
SELECT v.device, v.name, o.login
FROM vessel v JOIN owner o ON o.id = v.owner_id
WHERE NOT v.living AND v.state_since <= now() - %(since)s::interval
  AND (v.device = ANY (%(devices)s::text[])
       OR v.state_since > now() - %(since)s::interval - interval '1 day')
  AND (%(since)s::interval = interval '0' OR NOT EXISTS (
         SELECT FROM vessel w
         WHERE (w.owner_id, w.name) = (v.owner_id, v.name)
           AND (w.living OR w.state_since > now() - %(since)s::interval)))
