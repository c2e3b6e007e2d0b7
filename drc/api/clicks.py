"""What owners answer by the buttons of a message. The undertaker hears the click, and asks."""

from datetime import datetime

from drc import fleet
from drc.api.access import Here, Routes
from drc.api.idle import keep_by, of_id
from drc.api.shapes import Click, Clicked, Idleness, Kept
from drc.api.vessels import end
from drc.db import actor
from drc.errors import Forbidden, WrongState

routes = Routes("idle")


@routes.post("/messages/{id}/click", "messages:answer")
def click(id: int, request: Click, here: Here) -> Clicked:
    """Do what a button says, for whom its message was sent to; a second click does nothing more.

    Nor does one on a message that is not so any more.
    """
    row = fleet.read_click(here.db, id, request.recipient)
    if row is None:
        raise Forbidden("That message was not sent to you, so its buttons are not yours.")
    vessel, by = str(row["id"]), f"by a button in {request.channel}"
    actor().update(who=row["called"], subject=row["subject"], signer="click")
    kept = None
    if row["is_stale"]:
        kept = of_late(request.action, of_id(here, vessel), fleet.read_now(here.db))
    elif request.action == "keep":
        kept = keep_by(here, vessel, row["owner_id"], None, by)
    elif request.action == "stop":
        end(here, vessel, f"stopped by its owner, {by}", save=row["save"])
    return Clicked(zone=row["zone"], kept=kept, why=of_id(here, vessel))


def of_late(action: str, why: Idleness, now: datetime) -> Kept | None:
    """What a click on a message says that is not so any more. Raises WrongState."""
    if action == "why":
        return None
    if action == "keep" and why.kept_until and why.kept_until > now and why.keeps_left is not None:
        return Kept(kept_until=why.kept_until, keeps_left=why.keeps_left)
    raise WrongState(
        f"{why.name} is {why.state}, and not about to be buried for being idle any more.",
        hint=f"drc why {why.name}",
    )
