"""What owners answer by the buttons of a message. The undertaker hears the click, and asks."""

from datetime import datetime

from drc import fleet
from drc.api.access import Calling, Here, Routes
from drc.api.context import Context
from drc.api.idle import keep_by, of_id
from drc.api.shapes import Click, Clicked, Idleness, Kept
from drc.api.vessels import end
from drc.auth import granted, meaning
from drc.db import Row, actor
from drc.errors import Forbidden, WrongState
from drc.vessel import AGEING

routes = Routes("idle")

MAY = {"keep": "vessels:extend", "stop": "vessels:stop", "why": "vessels:read"}


@routes.post("/messages/{id}/click", "messages:answer")
def click(id: int, request: Click, caller: Calling, here: Here) -> Clicked:
    """Do what a button says, for whom its message was sent to; a second click does nothing more.

    Nor does one on a message that is not so any more.
    """
    row = fleet.read_click(here.db, id, request.recipient)
    if row is None:
        raise Forbidden("That message was not sent to you, so its buttons are not yours.")
    refuse_others(here, row, MAY[request.action])
    vessel, by = str(row["id"]), f"by a button in {request.channel}"
    via = {"via": caller.subject, "clicked": request.recipient}
    actor().update(who=row["called"], subject=row["subject"], signer="click", **via)
    kept = None
    if row["is_stale"]:
        kept = of_late(request.action, of_id(here, vessel), fleet.read_now(here.db))
    elif request.action == "keep":
        kept = keep_by(here, vessel, row["owner_id"], None, by)
    elif request.action == "stop":
        end(here, vessel, f"stopped by its owner, {by}", save=row["save"])
    return Clicked(zone=row["zone"], save=row["save"], kept=kept, why=of_id(here, vessel))


def refuse_others(here: Context, owner: Row, permission: str) -> None:
    """As if the owner had asked for it: by what their roles let them do now. Raises Forbidden."""
    claims: Row = owner["claims"] or {}
    if permission not in granted(here.roles.of(claims)):
        raise Forbidden(f"This needs the permission {permission}: {meaning(permission)}")


def of_late(action: str, why: Idleness, now: datetime) -> Kept | None:
    """What a click on a message says that is not so any more. Raises WrongState."""
    if action == "why":
        return None
    is_kept = why.state in AGEING and why.kept_until is not None and why.kept_until > now
    if action == "keep" and is_kept and why.kept_until and why.keeps_left is not None:
        return Kept(kept_until=why.kept_until, keeps_left=why.keeps_left)
    raise WrongState(
        f"{why.name} is {why.state}, and not about to be buried for being idle any more.",
        hint=f"drc why {why.name}",
    )
