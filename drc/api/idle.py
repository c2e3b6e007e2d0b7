"""Why a vessel lives, and for how long yet; and keeping one that is idle for a reason."""

from datetime import datetime

from drc import fleet
from drc.api.access import Here, Owner, Routes
from drc.api.context import Context
from drc.api.shapes import Idleness, KeepRequest, Kept
from drc.api.vessels import of_name, read
from drc.db import Row
from drc.errors import BadInput, DrcError, WrongState
from drc.fleet import EVENTS
from drc.vessel import AGEING

routes = Routes("idle")


@routes.get("/vessels/{name}/why", "vessels:read")
def why(name: str, owner: Owner, here: Here) -> Idleness:
    """How the undertaker last judged a vessel, by which samples, and what it will do when."""
    return of_id(here, of_name(here, owner, name))


def of_id(here: Context, id: str) -> Idleness:
    row, known = read(here, id), fleet.read_idle(here.db, id) or {}
    return Idleness(name=row["name"], state=row["state"], ends_at=row["ends_at"], **known)


@routes.post("/vessels/{name}/keep", "vessels:extend")
def keep(name: str, request: KeepRequest, owner: Owner, here: Here) -> Kept:
    """Its idleness does not count until then, as far and as often as the policy lets one."""
    return keep_by(here, of_name(here, owner, name), owner["id"], request.until, request.why)


def keep_by(here: Context, id: str, owner_id: int, until: datetime | None, why: str) -> Kept:
    """Raises WrongState, BadInput."""
    kept = fleet.keep_vessel(here.db, id, owner_id, until, why)
    if kept is None:
        known, now = fleet.read_idle(here.db, id), fleet.read_now(here.db)
        if known is None or not is_kept(known, until, now):
            raise why_not_kept(read(here, id), known, now, until)
        return Kept(kept_until=known["kept_until"], keeps_left=known["keeps_left"])
    here.doorbell.ring(EVENTS)
    return Kept(**kept)


def is_kept(known: Row, until: datetime | None, now: datetime) -> bool:
    """Whether it is kept that long already: asked twice, or an answer was lost."""
    kept: datetime | None = known["kept_until"]
    return kept is not None and kept > now and kept >= (until or known["keep_to"])


def why_not_kept(row: Row, known: Row | None, now: datetime, until: datetime | None) -> DrcError:
    """Why the statement kept nothing."""
    name = row["name"]
    if row["state"] not in AGEING:
        return WrongState(f"{name} is {row['state']}.", hint=f"drc show {name}")
    if known is None:
        return WrongState(f"Nobody judged {name} yet.", hint=f"drc why {name}")
    if not known["keeps_left"]:
        return WrongState(
            f"{name} was kept as often as one may; use its GPUs, or save your work.",
            hint=f"drc why {name}",
        )
    if until and until < now:
        return BadInput("That is past.", hint=f"drc keep {name}")
    return BadInput(
        f"{name} may be kept until {known['keep_to']:%Y-%m-%d %H:%M} UTC at most.",
        hint=f"drc keep {name}  keeps it as long as one may.",
    )
