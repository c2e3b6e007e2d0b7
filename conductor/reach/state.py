"""A node's own state, for control planes that give addresses as they like: who comes back with the
same state is the same node, and has the same address.

It lies in a volume of its host's that no vessel ever has, one for an owner's vessels of a name.
"""

import io
import tarfile
from collections.abc import Generator
from contextlib import contextmanager

import docker.errors

from conductor import container, wanted
from conductor.execute import execute
from conductor.host import Host, translated
from conductor.wanted import File, Names
from conductor.work import Work
from drc.errors import EngineFailed

FOLDER = "/var/lib/tailscale"  # tailscaled's, in a network container
FILE = "tailscaled.state"
BACK = 10.0  # seconds for a node to be itself again
RESTART = ["sh", "-c", 'kill -9 "$(cat /run/tailscaled.pid)"']


def keep(host: Host, names: Names, work: Work, berth: str) -> None:
    """Of a network container that has joined. Raises EngineFailed, HostUnreachable."""
    with translated(host.name):
        engine = host.docker()
        try:
            chunks, _ = engine.get_archive(berth, f"{FOLDER}/{FILE}")
        except docker.errors.NotFound:
            raise EngineFailed(f"Its node on {host.name} has no state to keep.") from None
        archive = alone(b"".join(chunks))
        with carrier(host, names, work, berth) as name:
            engine.put_archive(name, wanted.NODE_STATE, archive)


def restore(host: Host, names: Names, work: Work, berth: str) -> bool:
    """Whether there was one; tailscaled then begins anew with it. Raises EngineFailed."""
    with translated(host.name):
        engine = host.docker()
        with carrier(host, names, work, berth) as name:
            try:
                chunks, _ = engine.get_archive(name, f"{wanted.NODE_STATE}/{FILE}")
            except docker.errors.NotFound:
                return False
            archive = alone(b"".join(chunks))
        engine.put_archive(berth, FOLDER, archive)
    execute(host, berth, RESTART, "", BACK)
    return True


@contextmanager
def carrier(host: Host, names: Names, work: Work, berth: str) -> Generator[str]:
    """A container that never runs, with the volume in it, for a moment."""
    name = f"{names.carrier(work.vessel_id, work.attempt)}-node"
    image = host.docker().inspect_container(berth)["Image"]
    container.create(host, wanted.node_carrier(names, work, image), name)
    try:
        yield name
    finally:
        host.remove(name)


def alone(archive: bytes) -> bytes:
    """The one file of a tar, for root alone."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as old:
        content = old.extractfile(FILE)
        return wanted.archive([File(FILE, content.read() if content else b"", 0o600)])
