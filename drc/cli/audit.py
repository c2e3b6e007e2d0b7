"""`drc audit`: who did what, and who was refused."""

from typing import Annotated, Any

import typer

from drc.cli.events import SHORT, Request

ASK = typer.Option
PAGE = 1000


def audit(
    who: Annotated[str | None, ASK(help="By whom: a name as the audit shows it.")] = None,
    action: Annotated[str | None, ASK(help="A permission, like vessels:stop; or login.")] = None,
    on: Annotated[str | None, ASK(help="The name of a vessel, host, queue or key.")] = None,
    request: Request = None,
    refused: Annotated[
        bool | None, ASK("--refused/--done", help="Only what was refused, or only what was done.")
    ] = None,
    since: Annotated[str | None, ASK(help="2h, 3d, 1w: that long ago. Or 2026-08-31.")] = None,
    until: Annotated[str | None, ASK(help="In the same way.")] = None,
    count: Annotated[int, ASK("--count", "-n", min=1, help="How many at most.")] = 50,
    json: Annotated[bool, ASK("--json", help="A line of JSON for each, on stdout.")] = False,
) -> None:
    """Who did what, and who was refused; the latest last."""
    import json as jsons

    from drc.cli.look import say, table

    wanted = {
        "who": who,
        "action": action,
        "target": on,
        "request": request,
        "refused": refused,
        "since": since and moment(since),
        "until": until and moment(until),
    }
    found = read(wanted, count)
    if json:
        for entry in reversed(found):
            print(jsons.dumps(entry, ensure_ascii=False))
        return
    if not found:
        say("Nothing of that kind is written down.")
        return
    table(
        ("WHEN", "WHO", "FROM", "ACTION", "ON", "RESULT", "REQUEST"),
        [row(e) for e in reversed(found)],
    )
    if len(found) == count:
        say(f"  The latest {count}; -n {count * 10} shows more.", dim=True)


def read(wanted: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The latest first, page by page."""
    from drc.cli.account import get

    found: list[dict[str, Any]] = []
    while len(found) < count:
        before = f"{found[-1]['id']}@{found[-1]['at']}" if found else None
        asked = min(PAGE, count - len(found))
        page = get("/v1/audit", **wanted, before=before, count=asked)
        found += page
        if len(page) < asked:
            break
    return found


def row(entry: dict[str, Any]) -> tuple[str, ...]:
    from datetime import datetime

    at = datetime.fromisoformat(entry["at"]).astimezone()
    address = entry["actor"].get("address") or "-"
    via = entry["actor"].get("via")
    who = f"{entry['who']}, by {via}" if via else entry["who"]
    return (
        f"{at:%Y-%m-%d %H:%M:%S}", who, address, entry["action"], entry["target"] or "-",
        entry["result"], (entry["actor"].get("request") or "-")[:SHORT],
    )  # fmt: skip


def moment(text: str) -> str:
    """A span before now, or a day or time by this machine's clock, as the API takes it."""
    from contextlib import suppress
    from datetime import UTC, datetime

    from drc.errors import BadInput
    from drc.machine import parse_lifetime

    with suppress(BadInput):
        return (datetime.now(UTC) - parse_lifetime(text)).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError:
        raise BadInput(
            f"“{text}” is no time.", hint="2h, 3d or 1w ago; 2026-08-31; 2026-08-31T18:00"
        ) from None
