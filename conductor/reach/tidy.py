"""What is true of the tailnet, beside what the books say: devices without a vessel go, and vessels
whose device is gone get one again, with the address that they had; those that began before owners
had tags get theirs.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from conductor.reach.plane import Device
from conductor.reach.tailnet import Tailnet, hostname_of, inspect
from conductor.work import Work, work_of
from drc import fleet
from drc.db import Row
from drc.errors import DrcError, TailnetRefused
from drc.vessel import State

if TYPE_CHECKING:
    from conductor.main import Conductor

PAUSE = 30.0  # seconds between two looks
NOW = timedelta()
UNUSED = timedelta(days=30)
"""For which a device without a vessel keeps its address, where only being listed keeps it."""
NO_WORK = {"id": 0, "verb": "join", "generation": 0, "tries": 0}
GRACE = 600.0  # seconds for a start to tell of the device that it made

log = logging.getLogger("conductor.tailnet")


def tidy(conductor: "Conductor", reach: Tailnet, grace: float = GRACE) -> Counter[str]:
    """How many there were of each. Raises TailnetUnreachable, TailnetRefused."""
    devices = {device.id: device for device in reach.plane.devices()}
    # after it: a vessel that begins now has its device in neither, or in the list alone
    known = fleet.list_nodes(conductor.db)
    mended = Counter(device=bury_devices(conductor, reach, devices, known, grace))
    for row in known:
        device = devices.get(row["device"])
        if row["state"] != State.RUNNING:
            continue
        if device and device.ipv4 == row["kept_ipv4"]:
            mended["tag"] += mark(reach, work_of({**NO_WORK, **row}, ""), device)
            continue
        mended["vessel"] += rejoin(conductor, reach, str(row["vessel_id"]))
    return +mended


def bury_devices(
    conductor: "Conductor", reach: Tailnet, devices: Mapping[str, Device], known: list[Row],
    grace: float,
) -> int:  # fmt: skip
    """Delete those of vessels that ended. What these books never had is somebody else's."""
    strange = {id: one for id, one in devices.items() if id not in {r["device"] for r in known}}
    reach.seen = {id: reach.seen.get(id, time.monotonic()) for id in strange}
    gone = fleet.list_gone_nodes(conductor.db, strange, NOW if reach.plane.can_move else UNUSED)
    ended = {row["device"] for row in gone}
    names = {hostname_of(row["name"], row["login"]) for row in gone}
    deleted = 0
    for id, device in strange.items():
        is_old = time.monotonic() - reach.seen[id] >= grace  # else its start may tell of it yet
        if id in ended or (device.hostname in names and is_old):
            try:
                reach.plane.delete(id)
            except TailnetRefused as failed:
                log.warning("the device %s (%s): %s", device.hostname, id, failed)
            else:
                log.warning("the device %s (%s) had no vessel", device.hostname, id)
                deleted += 1
    return deleted


def mark(reach: Tailnet, work: Work, device: Device) -> int:
    """Whether its owner's tag was missing and is there now. Raises TailnetUnreachable."""
    if reach.is_marked(work, device):
        return 0
    try:
        reach.mark(work, device)
    except TailnetRefused as failed:
        log.warning("%s of %s: %s", work.name, work.login, failed)
        return 0
    log.warning("%s of %s had not its owner's tag, and has it now", work.name, work.login)
    return 1


def rejoin(conductor: "Conductor", reach: Tailnet, id: str) -> int:
    """Whether a vessel has its address again. Its row is read anew: much may have been before."""
    row = next((r for r in fleet.list_nodes(conductor.db) if str(r["vessel_id"]) == id), None)
    if row is None or row["state"] != State.RUNNING:
        return 0
    work = work_of({**NO_WORK, **row}, "")
    try:
        host = conductor.host(work.host_id)
        # the one that it is in, whatever else bears its number by now
        vessel = inspect(host, conductor.names.vessel(work.vessel_id, work.attempt))
        berth = vessel["HostConfig"]["NetworkMode"].removeprefix("container:")
        address = reach.join_in(host, conductor.db, conductor.names, berth, work, conductor.ended)
        conductor.api.address(work, address)
    except DrcError as failed:
        log.warning("%s of %s is not at its address: %s", work.name, work.login, failed)
        return 0
    log.warning("%s of %s was not at its address, and is again", work.name, work.login)
    return 1


def watch(conductor: "Conductor", reach: Tailnet) -> None:
    """Until the conductor ends."""
    while not conductor.ended.wait(PAUSE):
        try:
            tidy(conductor, reach)
        except DrcError as failed:
            log.warning("%s", failed)
        except Exception:
            log.exception("the tailnet")
