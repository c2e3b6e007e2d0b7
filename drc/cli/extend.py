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


def parse_time(text: str) -> "datetime":
    """A day, to its end, or a time; on the clock of whoever types it, unless it names another.

    Raises BadInput.
    """
    import re
    from datetime import datetime

    from drc.errors import BadInput

    text = text.strip()
    day = re.fullmatch(r"\d{4}-\d{2}-\d{2}", text)
    try:
        return datetime.fromisoformat(f"{text} 23:59" if day else text).astimezone()
    except (ValueError, OverflowError):  # the latter where a time zone leads out of the calendar
        raise BadInput(
            f"“{text}” is not a time.",
            hint="For example: 2026-08-31, or '2026-08-31 18:00'.",
        ) from None
