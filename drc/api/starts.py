"""How long starts take, phase by phase, from what the events of a vessel say."""

import logging
from collections.abc import Mapping
from datetime import datetime

from drc import fleet
from drc.api.metrics import STARTS, WAITS
from drc.db import Database
from drc.errors import DrcError

STEPS = {
    "starting": "taken",
    "image_ready": "image",
    "home_came": "home",
    "home_stays": "home",
    "ssh_ready": "ssh",
    "jupyter_ready": "jupyter",
    "running": "running",
}
"""The events after `reserved`, in their order, and the phase that each ends."""
SELDOM = ("home_came", "home_stays")  # one of them at most; mostly none
WHOLE = "whole"
LATEST = 1000  # of its owner's events, among which those of a start are looked for

log = logging.getLogger("drc.api.starts")


def observe(db: Database, id: str, attempt: int) -> None:
    """Once, when it came to run. It is only a measurement: what goes wrong is logged."""
    try:
        rows = fleet.read_start(db, id, attempt, ["reserved", *STEPS], LATEST)
    except DrcError as failed:
        log.warning("%s", failed)
        return
    at = {row["kind"]: row["at"] for row in rows}
    for phase, seconds in phases(at).items():
        STARTS.labels(phase).observe(seconds)
    if "reserved" in at:
        for queue in rows[0]["queues"]:
            waited = (at["reserved"] - rows[0]["created_at"]).total_seconds()
            WAITS.labels(queue).observe(max(waited, 0))


def phases(at: Mapping[str, datetime]) -> dict[str, float]:
    """Seconds for each phase whose beginning and end are known, and for the whole."""
    found: dict[str, float] = {}
    begin = at.get("reserved")
    for step, phase in STEPS.items():
        end = at.get(step)
        if end is None and step in SELDOM:
            continue
        if begin and end:
            found[phase] = max((end - begin).total_seconds(), 0)
        begin = end
    if "reserved" in at and "running" in at:
        found[WHOLE] = (at["running"] - at["reserved"]).total_seconds()
    return found
