"""A look at one host, every few seconds: does it answer, and does it run what it should?"""

import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import docker.errors

from conductor import berths, wanted
from conductor.host import Host, translated
from conductor.work import Work
from drc import fleet
from drc.errors import DrcError, EngineFailed, HostKeyChanged, HostUnreachable, StaleAttempt
from drc.vessel import ENDED, State

if TYPE_CHECKING:
    from conductor.main import Conductor

PAUSE = 5.0  # seconds between two looks
PATIENCE = 20.0  # seconds of silence after which a host's vessels are called unreachable
AVOIDED = 5.0  # seconds for which a silent host is given no more work

log = logging.getLogger("conductor.watch")


def look(conductor: "Conductor", host: Host) -> None:
    """One look. Reports silence once, and what is found when the host is back."""
    if not host.watching.acquire(blocking=False):
        return
    try:
        running = clear(conductor, host)
        host.silent_since = None
        compare(conductor, host, running)
        berths.tidy(host, conductor.db, conductor.names)
        conductor.refill(host)
    except (HostUnreachable, EngineFailed) as failed:
        now = time.monotonic()
        conductor.silent_until[host.door.id] = now + AVOIDED
        host.silent_since = host.silent_since or now
        log.warning("%s: %s", host.name, failed)
        if isinstance(failed, HostKeyChanged):
            report(partial(conductor.report_ill, host.door.id, failed))
        if now - host.silent_since > PATIENCE:
            report(partial(report_silence, conductor, host))
    except DrcError as failed:
        log.warning("looking at %s: %s", host.name, failed)
    except Exception:
        log.exception("looking at %s", host.name)
    finally:
        host.watching.release()


def report(say: Callable[[], None]) -> None:
    """Tell the API; when it does not answer either, the next look tells it again."""
    try:
        say()
    except DrcError as failed:
        log.warning("%s", failed)


def report_silence(conductor: "Conductor", host: Host) -> None:
    lost = conductor.api.silent(host.door.id)
    if lost:
        log.warning("%s is silent: %s vessels are unreachable", host.name, lost)


def clear(conductor: "Conductor", host: Host) -> set[str]:
    """The names of our vessels' running containers on the host; of vessels that ended, none stays.

    Such a one is left where a host was given up as lost and came back. The containers are listed
    before the books are read, and a vessel is in the books before it has a container.
    """
    mine = f"{wanted.INSTALLATION}={conductor.names.installation}"
    with translated(host.name):
        try:
            there = host.docker().containers(all=True, filters={"label": [mine, wanted.VESSEL]})
        except docker.errors.NotFound as failed:
            raise EngineFailed(str(failed)) from failed
        living = {str(row["id"]) for row in fleet.read_vessels_on_host(conductor.db, host.door.id)}
        running: set[str] = set()
        for container in there:
            name = container["Names"][0].lstrip("/")
            id = container["Labels"][wanted.VESSEL]
            if id not in living:
                known = fleet.read_vessels(conductor.db, id=id, ended=True)
                if not known:
                    continue  # books that were restored may not know of it: nothing is lost
                if known[0]["state"] not in ENDED:
                    raise EngineFailed(f"{host.name} is {known[0]['host']} by another name.")
                log.warning("%s: the vessel of %s has ended; it is removed", host.name, name)
                with contextlib.suppress(docker.errors.NotFound):
                    host.docker().remove_container(container["Id"], force=True, v=True)
            elif container["State"] == "running":
                running.add(name)
    return running


def compare(conductor: "Conductor", host: Host, running: set[str]) -> None:
    """Vessels that were lost and run are found again; one whose container ended has failed."""
    for row in fleet.read_vessels_on_host(conductor.db, host.door.id):
        work = Work(
            id=0,
            verb="look",
            host_id=host.door.id,
            generation=0,
            tries=0,
            vessel_id=str(row["id"]),
            attempt=row["attempt"],
        )
        name = conductor.names.vessel(work.vessel_id, work.attempt)
        try:
            if row["state"] == State.UNREACHABLE and name in running:
                conductor.api.found(work)
            elif row["state"] in (State.UNREACHABLE, State.RUNNING) and name not in running:
                conductor.api.fail(work, f"Its container on {host.name} ended.")
        except StaleAttempt as failed:
            log.info("%s: %s", name, failed)  # it moved on between the two looks
