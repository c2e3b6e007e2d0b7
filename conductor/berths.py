"""Berths: network containers, each with an SSH port of its own and its rules in place.

A row is claimed before the container is made and deleted after it is gone, so a number is never
used twice; what a crash leaves between is found by `tidy`.
"""

import contextlib
import logging
import time
from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any

import docker.errors

from conductor import container, wanted
from conductor.host import Host, translated
from conductor.wanted import Names
from drc import fleet
from drc.db import Database, Row
from drc.errors import EngineFailed, HostUnreachable

READY_TIMEOUT = 10.0  # seconds for the rules to be in place; it takes about 50 ms
PORTS_TRIED = 50  # ports of a range that others may have taken before we give up

log = logging.getLogger("conductor.berths")


def make(host: Host, db: Database, names: Names, image: str, vessel_id: str | None) -> int:
    """A new berth, for a vessel or to wait. Returns its number. Raises EngineFailed."""
    for _ in range(PORTS_TRIED):
        number = fleet.add_berth(db, host.door.id, vessel_id, sorted(host.ports_taken))
        if number is None:
            continue  # lost a race for the number, or the host is leaving
        try:
            _ensure_network(host, names)  # after the row: whoever takes it away waits for that
            start(host, names, image, number)
        except PortTaken:
            host.ports_taken.add(number)
            remove(host, db, names, number)
            continue
        except (EngineFailed, HostUnreachable):
            with contextlib.suppress(EngineFailed, HostUnreachable):
                remove(host, db, names, number)
            raise
        device = host.reach.prepare(host, names, number) if vessel_id is None else None
        fleet.ready_berth(db, host.door.id, number, device)
        return number
    raise EngineFailed(f"No free port for SSH on {host.name} from {host.door.ports_from} on.")


class PortTaken(Exception):
    """Somebody else on the host uses the berth's port."""


def start(host: Host, names: Names, image: str, number: int) -> None:
    """Make and start the network container, and wait until its rules are in place."""
    addresses, resolv_conf = host.network_facts()
    body = wanted.berth_container(
        names,
        image,
        number,
        host=host.name,
        address=host.door.address,
        port=host.door.port(number),
        addresses=addresses,
        resolv_conf=resolv_conf,
        tailnet=not host.reach.publishes,
    )
    try:
        _run(host, body, names.berth(number))
    except EngineFailed as failed:
        if (
            "port is already allocated" in failed.message
            or "address already in use" in failed.message
        ):
            raise PortTaken from failed
        raise
    except docker.errors.NotFound as failed:
        raise EngineFailed(f"Docker on {host.name}: {failed.explanation}") from failed


def ensure(host: Host, names: Names, image: str, number: int) -> bool:
    """The berth's container runs: made anew when it did not, as after a reboot of its host.

    Whether it had been running.
    """
    with translated(host.name), contextlib.suppress(docker.errors.NotFound):
        found = host.docker().inspect_container(names.berth(number))
        if found["State"]["Running"] and fits(host, found["Config"]["Labels"]):
            return True
    _ensure_network(host, names)
    start(host, names, image, number)
    return False


def fits(host: Host, labels: Mapping[str, str]) -> bool:
    """Whether a network container is made for the way in which vessels are reached now."""
    return (labels.get(wanted.REACH) == wanted.TAILNET) is not host.reach.publishes


def restart(host: Host, names: Names, number: int) -> None:
    """Start a berth that is there, as after a reboot: a vessel belongs to that very container.

    Raises EngineFailed, NotFound.
    """
    name = names.berth(number)
    with translated(host.name):
        host.docker().start(name)
        _wait_until_ready(host, name)


def _run(host: Host, body: dict[str, Any], name: str) -> None:
    """Make a network container, in the place of one of that name, and wait for its rules."""
    container.create(host, body, name)
    with translated(host.name):
        host.docker().start(name)
        _wait_until_ready(host, name)


def _wait_until_ready(host: Host, name: str) -> None:
    engine, deadline = host.docker(), time.monotonic() + READY_TIMEOUT
    while time.monotonic() < deadline:
        state = engine.inspect_container(name)["State"]
        # what it said before it was restarted says nothing of its rules now
        said = engine.logs(name, since=datetime.fromisoformat(state["StartedAt"]).timestamp())
        if b"ready" in said.split():
            return
        if not state["Running"]:
            raise EngineFailed(
                f"The network container on {host.name} could not set its rules: "
                f"{said.decode(errors='replace').strip()[-500:]}"
            )
        time.sleep(0.02)
    raise EngineFailed(f"The network container on {host.name} was not ready in time.")


@contextlib.contextmanager
def without_port(host: Host, names: Names, image: str, name: str) -> Generator[None]:
    """A network container like a berth's, which nobody can reach: for what runs without a vessel.

    One of that name that a crash left is replaced.
    """
    _ensure_network(host, names)
    addresses, resolv_conf = host.network_facts()
    body = wanted.portless_container(
        names, image, host=host.name, addresses=addresses, resolv_conf=resolv_conf
    )
    try:
        _run(host, body, name)
        yield
    finally:
        with contextlib.suppress(EngineFailed, HostUnreachable):
            host.remove(name)


def remove(host: Host, db: Database, names: Names, number: int) -> None:
    host.remove(names.berth(number))
    device = fleet.remove_berth(db, host.door.id, number)
    if device:
        host.reach.forget(device)


def _ensure_network(host: Host, names: Names) -> None:
    with host.networking:
        if names.network in host.networks:
            return
        with translated(host.name):
            if not _networks(host, names):
                _make_network(host, names)
            # Docker looks for a namesake before it makes a network, not while: another conductor's
            # may have come between, and of two with one name neither can be joined
            there = sorted(_networks(host, names), key=lambda n: n["Created"], reverse=True)
            left = len(there)
            for network in there:
                if left > 1:
                    with contextlib.suppress(docker.errors.APIError):  # it is in use already
                        host.docker().remove_network(network["Id"])
                        left -= 1
        host.networks.add(names.network)


def _networks(host: Host, names: Names) -> list[dict[str, Any]]:
    found = host.docker().networks(names=[names.network])
    return [network for network in found if network["Name"] == names.network]


def _make_network(host: Host, names: Names) -> None:
    try:
        host.docker().create_network(
            names.network,
            driver="bridge",
            options=wanted.NETWORK_OPTIONS,
            labels={wanted.INSTALLATION: names.installation},
            check_duplicate=True,
        )
    except docker.errors.APIError as failed:
        if failed.status_code != 409:  # another conductor made it just now
            raise


def refill(host: Host, db: Database, names: Names, image: str, waiting: int) -> int:
    """Make berths until `waiting` of them wait. Returns how many were made."""
    made = 0
    while True:
        if sum(row["ready"] for row in list_waiting(host, db)) >= waiting:
            return made
        make(host, db, names, image, None)
        made += 1


def list_waiting(host: Host, db: Database) -> list[Row]:
    return [row for row in fleet.list_berths(db, host.door.id) if row["vessel_id"] is None]


def tidy(host: Host, db: Database, names: Names, waiting: list[Row], running: set[str]) -> int:
    """Take away waiting berths whose container is gone, and those whose making was cut off.

    `waiting` was read before `running` was listed: one that was ready then, and does not run, has
    ended.
    """
    removed = 0
    for row in waiting:
        if row["ready"] and names.berth(row["number"]) in running:
            continue
        if fleet.retire_berth(db, host.door.id, row["number"]):
            remove(host, db, names, row["number"])
            removed += 1
    return removed
