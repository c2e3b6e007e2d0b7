-- A vessel has joined its tailnet. The address is its owner's under its name from now on.
-- Parameters: id uuid, attempt int, ipv4 text, ipv6 text (NULL: none), dns_name text (NULL: none),
--   device text, instead_of text (NULL: its address is what it was, or its first), takes boolean
--   (whoever it was kept for loses it: the control plane gives addresses as it likes).
-- Zero rows: the vessel does not live, or this is another attempt.
WITH v AS (
  UPDATE vessel SET ssh_address = %(ipv4)s::text, ssh_port = 22, device = %(device)s::text
  WHERE id = %(id)s::uuid AND attempt = %(attempt)s::int AND living AND state <> 'stopping'
  RETURNING id, owner_id, name, attempt
),
lost AS (
  DELETE FROM address a USING v
  WHERE %(takes)s::boolean AND a.ipv4 = %(ipv4)s::inet AND (a.owner_id, a.name) <> (v.owner_id, v.name)
  RETURNING a.ipv4
),
a AS (
  INSERT INTO address (owner_id, name, ipv4, ipv6, dns_name)
  SELECT owner_id, name, %(ipv4)s::inet, %(ipv6)s::inet, %(dns_name)s::text
  FROM v WHERE (SELECT count(*) FROM lost) >= 0  -- after it
  ON CONFLICT (owner_id, name) DO UPDATE
  SET ipv4 = EXCLUDED.ipv4, ipv6 = EXCLUDED.ipv6, dns_name = EXCLUDED.dns_name, since = now()
)
INSERT INTO event (kind, owner_id, vessel_id, attempt, data, request)
SELECT 'joined', owner_id, id, attempt,
       jsonb_strip_nulls(jsonb_build_object('address', %(ipv4)s::text, 'name', %(dns_name)s::text,
                                            'instead_of', %(instead_of)s::text)),
       %(request)s::text
FROM v
RETURNING vessel_id
