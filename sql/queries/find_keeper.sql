-- For whose vessel an address is kept, unless for this one.
-- Parameters: ipv4 text, id uuid (of the vessel). Zero rows: nobody's.
SELECT a.owner_id, a.name FROM address a, vessel v
WHERE a.ipv4 = %(ipv4)s::inet AND v.id = %(id)s::uuid AND (a.owner_id, a.name) <> (v.owner_id, v.name)
