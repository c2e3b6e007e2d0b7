"""What is true of the tailnet, beside what the books say: devices without a vessel go, and vessels
whose device is gone get one again, with the address that they had.
"""

import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from conductor.reach.tailnet import Tailnet
from conductor.work import Work, work_of
from drc import fleet
from drc.errors import DrcError
from drc.vessel import State

if TYPE_CHECKING:
    from conductor.main import Conductor

PAUSE = 30.0  # seconds between two looks
NO_WORK = {"id": 0, "verb": "join", "generation": 0, "tries": 0}
GRACE = timedelta(minutes=10)  # for a start to tell of the device that it made

log = logging.getLogger("conductor.tailnet")


def tidy(conductor: "Conductor", reach: Tailnet, now: datetime) -> Counter[str]:
    """How many there were of each. Raises TailnetUnreachable, TailnetRefused."""
    mended = Counter[str]()
    # after it: a vessel that ends now is in the books yet, and its device only in the list
    devices = {device.id: device for device in reach.plane.devices()}
    known = fleet.list_nodes(conductor.db)
    for device in devices.values():
        if device.id not in {row["device"] for row in known} and now - device.made_at > GRACE:
            reach.plane.delete(device.id)
            log.warning("the device %s (%s) had no vessel", device.hostname, device.id)
            mended["device"] += 1
    for row in known:
        if row["device"] not in devices and row["state"] == State.RUNNING:
            mended["vessel"] += rejoin(conductor, reach, work_of({**NO_WORK, **row}, ""))
    return +mended


def rejoin(conductor: "Conductor", reach: Tailnet, work: Work) -> int:
    """Whether a vessel has an address again."""
    if work.berth is None:
        return 0
    try:
        host = conductor.host(work.host_id)
        address = reach.join(host, conductor.db, conductor.names, work.berth, work)
        conductor.api.address(work, address)
    except DrcError as failed:
        log.warning("%s of %s has no device and could not join: %s", work.name, work.login, failed)
        return 0
    log.warning("%s of %s had no device, and joined again", work.name, work.login)
    return 1


def watch(conductor: "Conductor", reach: Tailnet) -> None:
    """Until the conductor ends."""
    while not conductor.ended.wait(PAUSE):
        try:
            tidy(conductor, reach, datetime.now(UTC))
        except DrcError as failed:
            log.warning("%s", failed)
        except Exception:
            log.exception("the tailnet")
