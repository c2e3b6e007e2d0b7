"""A host as the conductor sees it: one kept SSH connection, and the engine behind it."""

import contextlib
import logging
import shlex
import socket
import threading
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import docker.constants
import docker.errors
import paramiko
import requests
import requests.exceptions

from conductor.reach import Reach
from conductor.reach.local import Local
from conductor.streamlocal import StreamlocalAdapter, StreamlocalTransport
from conductor.use import Use
from conductor.wanted import Limits
from drc.errors import EngineFailed, HostKeyChanged, HostUnreachable
from drc.sshkey import fingerprint, parse_public_key

CONNECT_TIMEOUT = 5.0  # seconds; a host of one's own network answers in milliseconds
ENGINE_TIMEOUT = 60  # seconds for one answer; a loaded engine may take tens of them
KEEP_ALIVE = 15  # seconds of quiet after which something is sent
UNANSWERED = 45  # seconds for what we sent to be acknowledged; then the connection is given up
OLDEST_API = "1.41"  # Docker 20.10

log = logging.getLogger("conductor.host")


@dataclass(frozen=True, slots=True)
class Door:
    """How a host is reached: a row of read_host_doors."""

    id: int
    name: str
    ssh_user: str
    ssh_address: str
    ssh_port: int
    ssh_host_key: str | None
    docker_socket: str
    address: str
    ports_from: int
    simulate: str | None
    probed: bool
    open: bool
    exporter: str | None = None
    """Its dcgm-exporter, where that is not at port 9400; `none`: it has none."""
    job_mapping: str | None = None
    """A folder on it, for whoever measures its GPUs (conductor.mapping)."""

    def port(self, number: int) -> int:
        """That a berth's SSH has, where it is published."""
        return self.ports_from + number

    @property
    def pinned(self) -> bool:
        """Whether its host key is known whole; before, nothing is sent to it."""
        return bool(self.ssh_host_key) and not self.ssh_host_key.startswith("SHA256:")


@dataclass(eq=False, slots=True)
class Host:
    door: Door
    key: paramiko.PKey
    disk_mib: int | None = None
    """What a vessel may write to its own files, where the engine can limit it."""
    reach: Reach = field(default_factory=Local)
    """How vessels on it are reached."""
    transport: StreamlocalTransport | None = None
    client: docker.APIClient | None = None
    facts: tuple[str, str] | None = None
    networks: set[str] = field(default_factory=set[str])
    homes: dict[str, str] = field(default_factory=dict[str, str])
    """Whose the home volumes are, by volume, as far as they were looked at."""
    ports_taken: set[int] = field(default_factory=set[int])
    silent_since: float | None = None
    connections: int = 0
    """How many there were, this one included."""
    rounded: tuple[int, float] = 0, 0.0
    """Over which connection, and when (time.monotonic), the last whole round was made."""
    revivals: dict[str, int] = field(default_factory=dict[str, int])
    """By vessel's container, how often it could not be started again."""
    unsaved: dict[str, int] = field(default_factory=dict[str, int])
    """By vessel's container, how often no image could be made of it."""
    use: dict[tuple[str, str], Use] = field(default_factory=dict[tuple[str, str], Use])
    """What its vessels use, by owner and name, where somebody wants to know (conductor.measure)."""
    reading: list[Future[None]] = field(default_factory=list[Future[None]])
    """Of what they use: the readings that were begun last."""
    docker_root: str = ""
    disk_free_mib: int | None = None
    """Where its engine writes, and what is free there."""
    limits: Limits | None = None
    """Of its engine, once they were asked for over this connection (conductor.trial)."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    networking: threading.Lock = field(default_factory=threading.Lock)
    refilling: threading.Lock = field(default_factory=threading.Lock)
    watching: threading.Lock = field(default_factory=threading.Lock)
    trying: threading.Lock = field(default_factory=threading.Lock)
    mapping: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        return self.door.name

    def connection(self) -> StreamlocalTransport:
        """The kept connection, made anew when it broke. Raises HostUnreachable."""
        with self.lock:
            if self.transport is None or not self.transport.is_active():
                self.client, self.facts, self.limits = None, None, None
                self.networks.clear()
                self.transport = self._connect()
                self.connections += 1
            return self.transport

    def _connect(self) -> StreamlocalTransport:
        door = self.door
        if not door.pinned:
            raise HostUnreachable(f"The host key of {door.name} is not trusted yet.")
        pinned = parse_public_key(door.ssh_host_key or "")
        transport = StreamlocalTransport(reach(door))
        transport.set_keepalive(KEEP_ALIVE)
        transport.get_security_options().key_types = [
            kind for kind in transport.get_security_options().key_types if _signs(pinned.kind, kind)
        ]
        try:
            transport.start_client(timeout=CONNECT_TIMEOUT)
            shown = transport.get_remote_server_key().asbytes()
            if shown != pinned.blob:
                changed = HostKeyChanged(
                    f"{door.name} shows another host key, {fingerprint(shown)}, than the pinned "
                    f"{pinned.fingerprint}. Nothing is sent to it.",
                    hint=f"If it was set up anew: drc host trust {door.name}",
                )
                key = transport.get_remote_server_key()
                changed.shown = f"{key.get_name()} {key.get_base64()}"
                raise changed
            transport.auth_publickey(door.ssh_user, self.key)
        except (paramiko.SSHException, OSError, EOFError) as failed:
            transport.close()
            raise HostUnreachable(f"{door.name} refused us: {failed}") from failed
        except HostUnreachable:
            transport.close()
            raise
        return transport

    def docker(self) -> Any:
        """The engine's docker.APIClient; Any, for the SDK has no types of its own.

        Raises HostUnreachable, EngineFailed.
        """
        transport = self.connection()
        with self.lock:
            if self.client is None:
                with translated(self.name):
                    self.client = _engine(transport, self.door.docker_socket)
            return self.client

    def state_of(self, container: str) -> dict[str, Any] | None:
        """A container's state as the engine tells it; None where there is no such container."""
        with translated(self.name):
            try:
                return self.docker().inspect_container(container)["State"]
            except docker.errors.NotFound:
                return None

    def runs(self, container: str) -> bool:
        state = self.state_of(container)
        return bool(state and state["Running"])

    def remove(self, container: str) -> None:
        """Take a container away, with the volumes that have no name, whatever it does."""
        with translated(self.name), contextlib.suppress(docker.errors.NotFound):
            self.docker().remove_container(container, force=True, v=True)

    def run(self, command: str, timeout: float = 10.0) -> tuple[int, str]:
        """A shell command on the host: exit status and standard output, at most 1 MiB.

        -1 is the status of one that does not end within `timeout` seconds. Raises HostUnreachable.
        """
        try:
            connection = self.connection()
            channel = connection.open_session(timeout=CONNECT_TIMEOUT)
            channel.settimeout(timeout)
            channel.exec_command(command)
            said, status = b"", -1
            with contextlib.suppress(TimeoutError):
                while len(said) < 2**20 and (chunk := channel.recv(65536)):
                    said += chunk
                status = channel.recv_exit_status() if channel.status_event.wait(timeout) else -1
            channel.close()
            if status == -1 and not connection.is_active():
                raise EOFError("the connection broke")
        except (paramiko.SSHException, OSError, EOFError) as failed:
            raise HostUnreachable(f"{self.name}: {shlex.split(command)[0]}: {failed}") from failed
        return status, said.decode(errors="replace")

    def network_facts(self) -> tuple[str, str]:
        """Every address of the host, space separated, and the resolv.conf that its engine uses.

        Its vessels must not reach the former; the nameservers in the latter they may ask.
        """
        if not self.facts:
            resolved = "/run/systemd/resolve/resolv.conf"
            status, said = self.run(f"hostname -I; test -e {resolved} && echo {resolved}; true")
            words = said.split()
            files = [word for word in words if word.startswith("/")]
            addresses = " ".join(word for word in words if not word.startswith("/"))
            if status != 0 or not addresses:
                raise HostUnreachable(f"{self.name} does not tell its addresses: {said.strip()}")
            self.facts = addresses, files[0] if files else "/etc/resolv.conf"
        return self.facts

    def same_door(self, door: Door) -> bool:
        """Whether the kept connection still leads where the row says."""
        return (
            door.ssh_user, door.ssh_address, door.ssh_port, door.ssh_host_key, door.docker_socket
        ) == (
            self.door.ssh_user, self.door.ssh_address, self.door.ssh_port, self.door.ssh_host_key,
            self.door.docker_socket,
        )  # fmt: skip

    def dial(self, address: str, port: int) -> paramiko.Channel:
        """A TCP connection that the host makes. Raises HostUnreachable, ChannelException."""
        try:
            return self.connection().open_channel(
                "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=CONNECT_TIMEOUT
            )
        except paramiko.ChannelException:
            raise
        except (paramiko.SSHException, OSError, EOFError) as failed:
            raise HostUnreachable(f"{self.name}: connecting to {port}: {failed}") from failed

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


def reach(door: Door) -> socket.socket:
    """A TCP connection to the host's sshd. Raises HostUnreachable."""
    try:
        sock = socket.create_connection((door.ssh_address, door.ssh_port), CONNECT_TIMEOUT)
    except socket.gaierror as failed:
        raise HostUnreachable(
            f"The name {door.ssh_address} does not resolve where the conductor runs."
        ) from failed
    except OSError as failed:
        raise HostUnreachable(
            f"{door.name} does not answer at {door.ssh_address}:{door.ssh_port}: {failed}"
        ) from failed
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else bodies wait for an ACK
    # else a connection that a firewall on the way forgot hangs for a quarter of an hour
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED * 1000)
    return sock


def shown_key(door: Door) -> str:
    """The public key that a host shows to anybody, before any login. Raises HostUnreachable."""
    transport = paramiko.Transport(reach(door))
    try:
        transport.start_client(timeout=CONNECT_TIMEOUT)
        key = transport.get_remote_server_key()
        return f"{key.get_name()} {key.get_base64()}"
    except (paramiko.SSHException, EOFError) as failed:
        raise HostUnreachable(f"{door.name} does not speak SSH: {failed}") from failed
    finally:
        transport.close()


def load_key(path: Path) -> paramiko.PKey:
    return paramiko.PKey.from_path(path)


def _signs(key_kind: str, algorithm: str) -> bool:
    return algorithm.endswith(key_kind.removeprefix("ssh-")) or (
        key_kind == "ssh-rsa" and algorithm.startswith("rsa-sha2-")
    )


def _engine(transport: StreamlocalTransport, socket_path: str) -> docker.APIClient:
    adapter = StreamlocalAdapter(transport, socket_path)
    asking = requests.Session()
    asking.trust_env = False
    asking.mount("http://localhost", adapter)
    answer = asking.get("http://localhost/version", timeout=10)
    answer.raise_for_status()
    offered = str(answer.json()["ApiVersion"])
    version = min(offered, docker.constants.DEFAULT_DOCKER_API_VERSION, key=_number)
    if _number(version) < _number(OLDEST_API):
        raise EngineFailed(
            f"The Docker Engine is too old (API {offered}).",
            hint="Docker 20.10 or newer is needed.",
        )
    client = docker.APIClient("http://localhost:2375", version, timeout=ENGINE_TIMEOUT)
    client.trust_env = False
    client.base_url = "http+docker://ssh"  # the SDK then finds an exec's socket in our channels
    client.mount("http+docker://ssh", adapter)
    return client


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@contextmanager
def translated(host: str) -> Generator[None]:
    """The docker SDK's errors as ours; NotFound passes, for it is an answer."""
    try:
        yield
    except docker.errors.NotFound:
        raise
    except docker.errors.APIError as failed:
        raise EngineFailed(f"Docker on {host}: {explanation(failed)}") from failed
    except (requests.exceptions.RequestException, paramiko.SSHException, EOFError) as failed:
        raise EngineFailed(f"Docker on {host} does not answer: {failed}") from failed


@contextmanager
def unless_pruning() -> Generator[None]:
    """An engine prunes for one at a time; who is refused for that asks again another time."""
    try:
        yield
    except docker.errors.APIError as failed:
        if failed.status_code != 409:
            raise


def explanation(failed: docker.errors.APIError) -> str:
    said: Any = failed.explanation
    return str(said.decode(errors="replace") if isinstance(said, bytes) else said or failed)
