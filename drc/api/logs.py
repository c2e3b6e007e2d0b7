"""What vessels said last: of one that is up as it is now, of one that ended as it was then."""

import time

from drc import fleet
from drc.api.access import Here, Owner, Routes
from drc.api.context import Context
from drc.api.shapes import Log
from drc.api.vessels import Begins, of_name, read
from drc.errors import Unreachable
from drc.fleet import WORK

routes = Routes("logs")

PATIENCE = 5.0  # seconds for a conductor to fetch a log


@routes.get("/vessels/{name}/logs", "vessels:read")
def logs(name: str, owner: Owner, here: Here, id: Begins = None) -> Log:
    """The last lines of the vessel's own log; its state and reason say how old they may be."""
    vessel_id = of_name(here, owner, name, id)
    asked_at = fleet.read_now(here.db)
    if not fleet.queue_log(here.db, vessel_id):
        return log_view(here, vessel_id, fleet.read_log(here.db, vessel_id))
    here.doorbell.ring(WORK)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        text = fleet.read_log(here.db, vessel_id, after=asked_at)
        if text is not None:
            return log_view(here, vessel_id, text)
        time.sleep(0.05)
    raise Unreachable(
        f"No conductor fetched the log of {name} within {PATIENCE:.0f} s.",
        hint=f"drc events {name}",
    )


def log_view(here: Context, id: str, text: str | None) -> Log:
    row = read(here, id)
    return Log(
        log=text,
        id=id,
        name=row["name"],
        state=row["state"],
        state_since=row["state_since"],
        reason=row["reason"],
        host=row["host"],
        had_container=row["ssh_port"] is not None,
    )
