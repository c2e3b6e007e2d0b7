-- Add a host, or change how one is reached, and have a conductor look at it.
-- Parameters: name text, ssh_user text, ssh_address text, ssh_port int,
--   ssh_host_key text (NULL: not known yet; SHA256:…: only its fingerprint), docker_socket text,
--   address text, ports_from int, simulate text (NULL: real GPUs only), queues text[] (sorted),
--   exporter text (ADDRESS:PORT, `none`, or NULL: as it is), committed boolean.
WITH h AS (
  INSERT INTO host (name, ssh_user, ssh_address, ssh_port, ssh_host_key, docker_socket, address,
                    ports_from, simulate, queues, exporter, committed)
  VALUES (%(name)s::text, %(ssh_user)s::text, %(ssh_address)s::text, %(ssh_port)s::int,
          %(ssh_host_key)s::text, %(docker_socket)s::text, %(address)s::text,
          %(ports_from)s::int, %(simulate)s::text, %(queues)s::text[],
          %(exporter)s::text, %(committed)s::boolean)
  ON CONFLICT (name) WHERE removed_at IS NULL DO UPDATE
  SET ssh_user = EXCLUDED.ssh_user, ssh_address = EXCLUDED.ssh_address,
      ssh_port = EXCLUDED.ssh_port, ssh_host_key = EXCLUDED.ssh_host_key,
      docker_socket = EXCLUDED.docker_socket, address = EXCLUDED.address,
      simulate = EXCLUDED.simulate, exporter = coalesce(EXCLUDED.exporter, host.exporter),
      ill = NULL, shown_host_key = NULL,
      committed = host.committed OR EXCLUDED.committed
  RETURNING id, name
),
a AS (
  INSERT INTO audit (actor, action, target, detail)
  SELECT %(actor)s::jsonb, 'hosts:write', name,
         jsonb_build_object('verb', 'add', 'ssh', %(ssh_user)s::text || '@' || %(ssh_address)s::text,
                            'key', %(ssh_host_key)s::text)
  FROM h
)
INSERT INTO outbox (verb, host_id, request) SELECT 'probe', id, %(request)s::text FROM h
ON CONFLICT (host_id) WHERE verb = 'probe' DO UPDATE
SET generation = outbox.generation + 1, tries = 0, run_at = clock_timestamp(),
    request = EXCLUDED.request
RETURNING host_id
