-- How each host is reached.
-- Parameters: none. Zero rows: there is none.
SELECT id, name, ssh_user, ssh_address, ssh_port, ssh_host_key, docker_socket, address,
       ports_from, simulate, probed, open
FROM host ORDER BY id
