"""A round over one host: the books, its Docker and its GPUs compared, and what differs mended.

Only what bears this installation's label is ever touched. What is taken away: containers and
volumes of vessels that have ended or of their older attempts, network containers without a row.
What a host runs is listed before the books are read, and whatever we make stands in the books
before it is made: so nothing new is ever taken for a leftover.
"""

import contextlib
import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import docker.errors

from conductor import berths, cards, images, probe, ready, trial, wanted
from conductor.host import Host, translated
from conductor.work import Work
from drc import fleet
from drc.db import Row
from drc.errors import DrcError, EngineFailed, HostUnreachable, StaleAttempt
from drc.vessel import ENDED, State

if TYPE_CHECKING:
    from conductor.main import Conductor

REVIVALS = 5  # tries to start a vessel again after its machine was restarted

log = logging.getLogger("conductor.reconcile")


@dataclass(frozen=True, slots=True)
class There:
    """A container of ours on a host."""

    id: str
    name: str
    running: bool
    labels: dict[str, str]
    network: str
    """The container whose network it shares, or the network that it is in."""


def list_containers(conductor: "Conductor", host: Host) -> list[There]:
    mine = f"{wanted.INSTALLATION}={conductor.names.installation}"
    with translated(host.name):
        try:
            found = host.docker().containers(all=True, filters={"label": mine})
        except docker.errors.NotFound as failed:
            raise EngineFailed(str(failed)) from failed
    return [
        There(
            id=container["Id"],
            name=container["Names"][0].lstrip("/"),
            running=container["State"] == "running",
            labels=container["Labels"],
            network=container["HostConfig"]["NetworkMode"].removeprefix("container:"),
        )
        for container in found
        if container["Names"]  # none: it is being removed just now
    ]


def clear(conductor: "Conductor", host: Host, there: list[There]) -> Counter[str]:
    """Take away the vessels' containers that should not be: of ended vessels, of older attempts.

    They are there where a host was given up as lost and came back. One that the books do not know
    at all is left, for they may be books that were restored. Raises EngineFailed where a vessel
    is another host's: this one is there under two names.
    """
    mended = Counter[str]()
    books = {str(row["id"]): row for row in fleet.read_vessels_on_host(conductor.db, host.door.id)}
    for container in there:
        id = container.labels.get(wanted.VESSEL)
        if not id:
            continue
        if id in books:
            attempt = container.labels.get(wanted.ATTEMPT, "")
            if not attempt.isdecimal() or int(attempt) >= books[id]["attempt"]:
                continue
        else:
            known = fleet.read_vessels(conductor.db, id=id, ended=True)
            if not known:
                continue
            if known[0]["state"] not in ENDED:
                raise EngineFailed(f"{host.name} is {known[0]['host']} by another name.")
        _remove(host, container)
        mended["container"] += 1
    return mended


def _remove(host: Host, container: There) -> None:
    log.warning("%s: %s has no vessel any more; it is removed", host.name, container.name)
    host.remove(container.id)


def compare(conductor: "Conductor", host: Host, there: list[There]) -> Counter[str]:
    """Vessels that were lost and run are found again, those that a restart of their machine ended
    are started again, and one whose container ended by itself has failed.
    """
    mended = Counter[str]()
    running = {container.name: container.running for container in there}
    booked = fleet.list_berths(conductor.db, host.door.id)
    numbers = {str(row["vessel_id"]): row["number"] for row in booked if row["vessel_id"]}
    for row in fleet.read_vessels_on_host(conductor.db, host.door.id):
        if row["state"] not in (State.UNREACHABLE, State.RUNNING):
            continue
        work = _looking(host, row)
        name = conductor.names.vessel(work.vessel_id, work.attempt)
        number = numbers.get(work.vessel_id)
        berth = conductor.names.berth(number) if number is not None else ""
        try:
            if running.get(name):
                if row["state"] == State.UNREACHABLE:
                    conductor.api.found(work)
                    mended["found"] += 1
                continue
            vessel, network = host.state_of(name), host.state_of(berth) if berth else None
            if vessel and vessel["Running"]:
                pass  # it began after we had asked
            elif vessel and network and was_restarted(vessel, network):
                mended["restarted"] += revive(conductor, host, work, number or 0)
            else:
                why = f"Its container on {host.name} {how_it_ended(vessel)}."
                conductor.api.fail(work, why, by_itself=True)
                mended["ghost"] += 1
        except StaleAttempt as failed:
            log.info("%s: %s", name, failed)  # it moved on between the two looks
    return mended


def _looking(host: Host, row: Row) -> Work:
    return Work(
        id=0, verb="look", host_id=host.door.id, generation=0, tries=0,
        vessel_id=str(row["id"]), attempt=row["attempt"],
    )  # fmt: skip


def how_it_ended(vessel: dict[str, Any] | None) -> str:
    if vessel is None:
        return "is gone"
    if vessel.get("OOMKilled"):
        return "ended: it took more memory than it has"
    return f"ended, with status {vessel['ExitCode']}" if vessel["ExitCode"] else "ended"


def was_restarted(vessel: dict[str, Any], network: dict[str, Any]) -> bool:
    """Whether machine or engine ended the vessel: its network container, which only waits, has
    ended as well, or was started after that (and the vessel could not be, so far).
    """
    if not network["Running"]:
        return True
    return datetime.fromisoformat(network["StartedAt"]) > datetime.fromisoformat(
        vessel["FinishedAt"]
    )


def revive(conductor: "Conductor", host: Host, work: Work, number: int) -> bool:
    """Start a vessel again whose machine or engine was restarted: its network container first.

    Tried at each look, and given up after REVIVALS: an engine that is just up may not have its
    GPUs yet. Raises StaleAttempt when the vessel is to stop meanwhile.
    """
    name = conductor.names.vessel(work.vessel_id, work.attempt)
    try:
        conductor.api.lost(work)
        berths.restart(host, conductor.names, number)
        with translated(host.name):
            host.docker().start(name)
        ready.wait_for_banner(host, work, name, host.reach.door(host, conductor.names, number))
    except StaleAttempt:
        raise
    except docker.errors.NotFound:
        conductor.api.fail(work, f"Its container on {host.name} is gone.")
    except HostUnreachable:
        raise
    except DrcError as failed:
        log.warning("%s: %s could not be started again: %s", host.name, name, failed)
        host.revivals[name] = host.revivals.get(name, 0) + 1
        if host.revivals[name] >= REVIVALS:
            del host.revivals[name]
            why = f"{host.name} was restarted, and it could not be started again: {failed.message}"
            conductor.api.fail(work, why)
    else:
        host.revivals.pop(name, None)
        conductor.api.found(work, f"{host.name} was restarted")
        return True
    return False


def sweep(conductor: "Conductor", host: Host, there: list[There]) -> Counter[str]:
    """Take away network containers without a row, and the run volumes of vessels that ended; and
    what a trial that was cut off left.
    """
    mended = Counter[str]()
    booked = {row["number"] for row in fleet.list_berths(conductor.db, host.door.id)}
    joined = {container.network for container in there}
    for container in there:
        number = container.labels.get(wanted.BERTH, "")
        if number.isdecimal() and int(number) not in booked and container.id not in joined:
            _remove(host, container)
            mended["berth"] += 1
        vessel = container.labels.get(wanted.JOURNEY)
        if vessel and not is_starting(conductor, vessel):
            _remove(host, container)
            mended["journey"] += 1
    mended["volume"] += sweep_volumes(conductor, host)
    mended["trial"] += trial.sweep(host, conductor.names)
    images.forget_saved(host, conductor.names)
    return +mended


def is_starting(conductor: "Conductor", vessel: str) -> bool:
    rows = fleet.read_vessels(conductor.db, id=vessel)
    return bool(rows) and rows[0]["state"] == State.STARTING


def sweep_volumes(conductor: "Conductor", host: Host) -> int:
    mine = f"{wanted.INSTALLATION}={conductor.names.installation}"
    with translated(host.name):
        engine = host.docker()
        volumes: list[dict[str, Any]] = engine.volumes(filters={"label": [mine, wanted.VESSEL]})[
            "Volumes"
        ]
    living = {str(row["id"]) for row in fleet.read_vessels_on_host(conductor.db, host.door.id)}
    removed = 0
    for volume in volumes or []:
        id = volume["Labels"][wanted.VESSEL]
        if id in living:
            continue
        known = fleet.read_vessels(conductor.db, id=id, ended=True)
        if not known or known[0]["state"] not in ENDED:
            continue
        with translated(host.name), contextlib.suppress(docker.errors.NotFound):
            try:
                engine.remove_volume(volume["Name"])
            except docker.errors.APIError as failed:
                if failed.status_code != 409:  # a container that goes just now has it
                    raise
                continue
        log.warning("%s: the volume %s has no vessel any more", host.name, volume["Name"])
        removed += 1
    return removed


def strangers(conductor: "Conductor", host: Host, there: list[There]) -> list[dict[str, Any]]:
    """Processes on the host's GPUs that run in no vessel which has the GPU they are on.

    Raises EngineFailed where the driver hangs.
    """
    status, said = probe.ask(host, cards.PROCESSES)
    if status != 0:
        return []  # no driver, or one too old to tell
    found = cards.processes(said)
    if not found:
        return []
    pids = " ".join(str(process["pid"]) for process in found)
    _, told = host.run(f'for p in {pids}; do echo "$p" $(cat /proc/$p/cgroup); done 2>/dev/null')
    inside = cards.containers(told)
    vessels = {container.id: container.labels.get(wanted.VESSEL) for container in there}
    holders = fleet.read_holders(conductor.db, host.door.id)
    return [
        {**process, "container": inside.get(process["pid"], "")[:12] or None}
        for process in found
        if vessels.get(inside.get(process["pid"], "")) not in holders.get(process["gpu"], [])
    ]
