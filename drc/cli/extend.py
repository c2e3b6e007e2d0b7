"""`drc extend`: a vessel lives on."""

from typing import TYPE_CHECKING, Annotated

import typer

from drc.cli.vessels import Json, Name

if TYPE_CHECKING:
    from datetime import datetime


def extend(
    name: Name,
    by: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Later than now by: 12h, 3d, 1w.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="2026-08-31, or '2026-08-31 18:00'.")
    ] = None,
    json: Json = False,
) -> None:
    """Move the end of a vessel's life. Without an option, to at least 7 days from now."""
    from drc.cli.account import client, print_json
    from drc.cli.look import ahead, say

    request = {"by": by, "until": parse_time(until).isoformat() if until is not None else None}
    vessel = client().call("POST", f"/v1/vessels/{name}/extend", request)
    if json:
        return print_json(vessel)
    say(f"{name} ends in {ahead(vessel['ends_at'])}.")
    if vessel["shares"]:
        say(f"  But no later than {vessel['shares']}, whose GPUs it shares.", dim=True)
    return None


WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def weekday(text: str, now: "datetime") -> "datetime | None":
    """`friday-18:00`, `fri-18:00` or `18:00`: the next one after now. None: it is none of these."""
    import re
    from datetime import timedelta

    said = re.fullmatch(r"(?:([a-z]{3})[a-z]*[- ])?(\d{1,2}):(\d{2})", text.lower())
    if not said or int(said[2]) > 23 or int(said[3]) > 59 or said[1] not in (None, *WEEK):
        return None
    at = now.replace(hour=int(said[2]), minute=int(said[3]), second=0, microsecond=0)
    days = (WEEK.index(said[1]) - now.weekday()) % 7 if said[1] else 0
    at += timedelta(days=days)
    return at if at > now else at + timedelta(days=7 if said[1] else 1)


def parse_time(text: str) -> "datetime":
    """A day, to its end, a time, or the next such hour (`friday-18:00`, `18:00`); on the clock of
    whoever types it, unless it names another.

    Raises BadInput.
    """
    import re
    from datetime import datetime

    from drc.errors import BadInput

    text = text.strip()
    soon = weekday(text, datetime.now().astimezone())
    if soon is not None:
        return soon
    day = re.fullmatch(r"\d{4}-\d{2}-\d{2}", text)
    try:
        return datetime.fromisoformat(f"{text} 23:59" if day else text).astimezone()
    except (ValueError, OverflowError):  # the latter where a time zone leads out of the calendar
        raise BadInput(
            f"“{text}” is not a time.",
            hint="For example: friday-18:00, 2026-08-31, or '2026-08-31 18:00'.",
        ) from None
