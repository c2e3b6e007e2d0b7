-- How each host is reached.
-- Parameters: id int (NULL: each). Zero rows: there is none.
SELECT id, name, ssh_user, ssh_address, ssh_port, ssh_host_key, docker_socket, address,
       ports_from, simulate, probed, open, exporter, job_mapping
FROM host
WHERE removed_at IS NULL AND (%(id)s::int IS NULL OR id = %(id)s::int)
ORDER BY id
