"""`drc events`: what happened to vessels, and which request caused it."""

from typing import Annotated, Any

import typer

from drc.cli import complete
from drc.cli.vessels import possible

SHORT = 8  # letters of a request's id; so many tell it from all others of a year
KIND = 13  # `jupyter_ready`
KNOWN = ("at", "kind", "vessel", "vessel_id", "attempt", "request")


def possible_request(begins: str | None) -> str | None:
    import re

    from drc.errors import BadInput

    if begins is not None and not re.fullmatch("[A-Za-z0-9-]{4,64}", begins):
        raise BadInput(f"“{begins}” is not a request's ID.", hint="drc events  shows the IDs.")
    return begins


Request = Annotated[
    str | None,
    typer.Option(
        "--request",
        metavar="ID",
        help="What one request caused: how its ID begins.",
        callback=possible_request,
    ),
]


def events(
    name: Annotated[
        str | None,
        typer.Argument(
            help="One vessel; all of yours without.",
            callback=possible,
            autocompletion=complete.ever,
        ),
    ] = None,
    request: Request = None,
    everybody: Annotated[
        bool, typer.Option("--all", "-a", help="To everybody's, and to hosts.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What happened to your vessels, and the ID of the request that caused it."""
    import json as encoder

    from drc.cli.account import client

    wanted: dict[str, Any] = {"vessel": name, "request": request, "everybody": everybody}
    for event in client().events(after="0-0", follow=follow, **wanted):
        if json:
            print(encoder.dumps(event), flush=True)
            continue
        if event["kind"] == "building" and not event.get("line", "").startswith("Step "):
            continue  # what a build says between its steps is for who waits for it
        for line in lines_of(event, of_one=name is not None):
            print(line, flush=True)


def lines_of(event: dict[str, Any], *, of_one: bool) -> list[str]:
    """One line; on a terminal that is too narrow, its end stands below its middle."""
    from datetime import datetime

    from drc.cli.look import colour, dim, folded, printable

    at = datetime.fromisoformat(event["at"]).astimezone()
    vessel = "" if of_one else f"{event['vessel'] or '-':<16}  "
    begin = f"{at:%Y-%m-%d %H:%M:%S}  {vessel}"
    kind, request = printable(event["kind"]), (event["request"] or "-")[:SHORT]
    more = {k: v for k, v in event.items() if k not in KNOWN and v and v != event["vessel"]}
    detail = printable("  ".join(f"{key}: {value}" for key, value in more.items()))
    margin = len(begin) + KIND + 2 + SHORT + 2
    first, *others = folded(detail, margin) or [""]
    head = f"{begin}{colour(kind)}{' ' * (KIND - len(kind))}  {dim(f'{request:<{SHORT}}')}"
    return [f"{head}  {first}".rstrip(), *(" " * margin + line for line in others)]
