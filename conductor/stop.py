"""Ending a vessel: take away what bears its id, and say so once the host's Docker agrees."""

import contextlib
import logging

import docker.errors

from conductor import berths, container, health, images, wanted
from conductor.api import Api
from conductor.host import Host, translated
from conductor.probe import free_disk
from conductor.wanted import Names
from conductor.work import Work
from drc import fleet
from drc.db import Database
from drc.errors import EngineFailed, StaleAttempt, StartFailed
from drc.machine import show_memory

GRACE = 2  # seconds between TERM and KILL: time for Jupyter to write its notebooks' checkpoints
LOG_LINES = 200
SAVE_TRIES = 3  # then it ends without: its GPUs are waited for
LARGEST_SAVED_MIB = 30 * 1024
FREE_MIB = 10 * 1024  # that must be left on the host
STEPS = ("containers", "gpus", "absent", "volumes", "address", "network")
"""As those of a start: each is begun by Work.begin, and each can be done again."""

log = logging.getLogger("conductor.stop")


def stop(work: Work, host: Host, db: Database, api: Api, names: Names) -> None:
    """Containers first, then the word that they are gone, then what else was the vessel's.

    The steps, in order, are STEPS. Its home stays. Raises EngineFailed, HostUnreachable: to be
    tried again until it succeeds.
    """
    work.begin("containers")
    if work.save:
        save(host, api, names, work)
    said = take_away(host, names, work)
    work.begin("gpus")
    check_gpus(host, db, api, work)
    work.begin("absent")
    with contextlib.suppress(StaleAttempt):  # said before a crash
        api.absent(work, said)
    work.begin("volumes")
    with translated(host.name):
        for attempt in range(1, work.attempt + 1):
            with contextlib.suppress(docker.errors.NotFound):
                host.docker().remove_volume(names.run_volume(work.vessel_id, attempt), force=True)
    work.begin("address")
    host.reach.leave(host, names, work)
    work.begin("network")
    if work.berth is not None:
        berths.remove(host, db, names, work.berth)


def save(host: Host, api: Api, names: Names, work: Work) -> None:
    """Make an image of what is in the vessel. Its home and its secrets are on volumes, which are no
    part of that. Raises EngineFailed while it is worth trying again, HostUnreachable.
    """
    name, image = names.vessel(work.vessel_id, work.attempt), names.saved(work.vessel_id)
    try:
        with translated(host.name):
            engine = host.docker()
            engine.stop(name, timeout=GRACE)
            if images.find(host, image) is None:
                check_size(host, name)
                kept = {wanted.SAVED: names.installation}
                container.commit(engine, name, image, [], kept, names.labels(work))
    except docker.errors.NotFound:
        api.saved(work, None, f"Its container on {host.name} was gone.")
    except StartFailed as failed:
        api.saved(work, None, failed.message)
    except EngineFailed as failed:
        host.unsaved[name] = host.unsaved.get(name, 0) + 1
        if host.unsaved[name] < SAVE_TRIES:
            raise
        api.saved(work, None, failed.message)
    else:
        api.saved(work, image)
    host.unsaved.pop(name, None)


def check_gpus(host: Host, db: Database, api: Api, work: Work) -> None:
    """What its programs did to its GPUs, or left on them, keeps them from the next; what is on a
    card that another vessel still has too is that one's. A driver that hangs is not waited for.
    """
    if not work.cards:
        return
    holders = fleet.read_holders(db, host.door.id)
    shared = [uuid for uuid in work.cards if holders.get(uuid) != [work.vessel_id]]
    try:
        found = health.check_returned(host, work.cards, shared)
    except EngineFailed as failed:
        log.warning("%s: %s", host.name, failed)
        return
    if found:
        api.set_aside(host.door.id, found)


def check_size(host: Host, name: str) -> None:
    """Raises StartFailed where its image would take what others on the host need."""
    engine = host.docker()
    told = engine._result(
        engine._get(engine._url("/containers/{0}/json", name), params={"size": "true"}), json=True
    )
    mib = int(told.get("SizeRw") or 0) // 2**20
    free = free_disk(host, engine.info()["DockerRootDir"])
    if mib > LARGEST_SAVED_MIB or mib > free - FREE_MIB:
        raise StartFailed(
            f"There are {show_memory(mib)} in it beside its home, which is more than "
            f"{host.name} keeps: {show_memory(LARGEST_SAVED_MIB)} at most, and {show_memory(free)} "
            "are free there."
        )


def take_away(host: Host, names: Names, work: Work) -> str | None:
    """Remove every container of the vessel. Returns its last lines. Raises EngineFailed."""
    engine = host.docker()
    mine = {
        "label": [
            f"{wanted.INSTALLATION}={names.installation}",
            f"{wanted.VESSEL}={work.vessel_id}",
        ]
    }
    log: str | None = None
    with translated(host.name):
        for found in engine.containers(all=True, filters=mine):
            log = container.last_lines(host, found["Id"], LOG_LINES) or log
            # one that an engine was killed over is dead: it has neither, and can only be removed
            with contextlib.suppress(docker.errors.APIError):
                engine.stop(found["Id"], timeout=GRACE)
            with contextlib.suppress(docker.errors.NotFound):
                engine.remove_container(found["Id"], force=True, v=True)
        if engine.containers(all=True, filters=mine):
            raise EngineFailed(f"Docker on {host.name} still lists the container.")
    return log
