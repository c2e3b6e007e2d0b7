"""Having read what the vessels of a host use, for the metrics.

Old engines answer only at their next tick, within a second; so each vessel is read in a thread of
its own, and the looks at hosts wait for none of it.
"""

import contextlib
import logging
from typing import TYPE_CHECKING

from conductor import reconcile, use
from conductor.host import Host, translated
from conductor.probe import disk_mib
from drc import fleet
from drc.errors import DrcError

if TYPE_CHECKING:
    from conductor.main import Conductor

READERS = 64  # at once; each mostly waits for an engine's tick

log = logging.getLogger("conductor.measure")


def measure(conductor: "Conductor", host: Host, there: list[reconcile.There]) -> None:
    """Begin to read the use of its vessels, unless the last time goes on yet; forget the ended.

    Raises DatabaseUnreachable.
    """
    if not all(task.done() for task in host.reading):
        return
    networks = {one.name: one.network for one in there if one.running}
    asked: dict[tuple[str, str], str] = {}
    for row in fleet.read_vessels_on_host(conductor.db, host.door.id):
        container = conductor.names.vessel(str(row["id"]), row["attempt"])
        if container in networks:
            asked[row["owner"], row["name"]] = container
    host.use = {who: used for who, used in host.use.items() if who in asked}
    submit = conductor.readers.submit
    host.reading = [
        submit(note, host, who, container, networks[container]) for who, container in asked.items()
    ]
    host.reading.append(submit(note_disk, host))


def note(host: Host, who: tuple[str, str], vessel: str, network: str) -> None:
    try:
        with translated(host.name):
            used = use.read(host.docker(), vessel, network)
    except DrcError as failed:
        log.info("%s: %s", vessel, failed)
        return
    if used is not None:
        host.use[who] = used


def note_disk(host: Host) -> None:
    host.disk_free_mib = None
    with contextlib.suppress(DrcError):
        if not host.docker_root:
            with translated(host.name):
                host.docker_root = host.docker().info()["DockerRootDir"]
        host.disk_free_mib = disk_mib(host, host.docker_root)
