"""Looking at vessels and ending them."""

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drc.cli import complete

if TYPE_CHECKING:
    from collections.abc import Callable

WATCH_PAUSE = 2.0  # seconds
SOON = timedelta(days=1)  # a list is looked at about once a day; of short lives, their last tenth


def possible(names: Any) -> Any:
    """What can be no vessel's name finds none; sent, it could lead to another page of the API."""
    from drc.errors import BadInput, NoSuchVessel
    from drc.machine import check_name

    for name in [names] if isinstance(names, str) else names or []:
        try:
            check_name(name)
        except BadInput:
            raise NoSuchVessel(f"You have no vessel called {name}.", hint="drc list") from None
    return names


def possible_id(id: str | None) -> str | None:
    import re

    from drc.errors import BadInput

    if id is not None and not re.fullmatch(r"[0-9a-f-]{4,36}", id.lower()):
        raise BadInput(f"“{id}” is not a vessel's ID.", hint="drc list --ended  shows the IDs.")
    return id.lower() if id else None


def name_offering(autocompletion: "Callable[..., complete.Offers]") -> Any:
    return typer.Argument(
        help="The vessel's name.",
        show_default=False,
        callback=possible,
        autocompletion=autocompletion,
    )


Name = Annotated[str, name_offering(complete.living)]
EverName = Annotated[str, name_offering(complete.ever)]
Id = Annotated[
    str | None,
    typer.Option(
        "--id",
        help="Of several that bore the name; default: the last.",
        callback=possible_id,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="The API's own answer.")]


def list_(
    everybody: Annotated[bool, typer.Option("--all", "-a", help="Everybody's vessels.")] = False,
    ended: Annotated[bool, typer.Option("--ended", help="Buried and failed ones too.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every 2 s.")] = False,
    json: Json = False,
) -> None:
    """Your vessels."""
    from drc.cli.account import get, print_json

    while True:
        found = get("/v1/vessels", everybody=everybody, ended=ended)
        if json:
            print_json(found)
        else:
            if watch:
                clear_screen()
            print_vessels(found, everybody=everybody, ended=ended)
        if not watch:
            return
        sys.stdout.flush()
        time.sleep(WATCH_PAUSE)


def clear_screen() -> None:
    """On a terminal; elsewhere one table follows the other."""
    print("\033[H\033[J" if sys.stdout.isatty() else "\n", end="")


def print_vessels(found: list[dict[str, Any]], *, everybody: bool, ended: bool) -> None:
    from drc.cli.look import ago, ordinal, say, shares, show_gpus, table, until

    if not found:
        return say("You have no vessels.  drc create --gpus 1  makes one.")
    head = ["NAME", "STATE", "HOST", "GPUS", "SHARE", "AGE", "ENDS IN"]
    rows = [
        [
            vessel["name"],
            vessel["state"],
            vessel["host"]
            or (f"{ordinal(vessel['position'])} in line" if vessel["position"] else "-"),
            show_gpus(vessel["gpus"], vessel["gpus_asked"], vessel["models"]),
            shares(vessel) or "-",
            ago(vessel["created_at"]),
            "-" if vessel["state"] in ("buried", "failed") else until(vessel["ends_at"]),
        ]
        for vessel in found
    ]
    if everybody:
        head.insert(0, "OWNER")
        for row, vessel in zip(rows, found, strict=True):
            row.insert(0, vessel["owner"])
    if ended:
        head.append("ID")
        for row, vessel in zip(rows, found, strict=True):
            row.append(vessel["id"][:8])
    table(head, rows)
    if not everybody:
        warn(found)
    return None


def warn(found: list[dict[str, Any]]) -> None:
    """Say which of one's vessels end soon, and what keeps them."""
    from drc.cli.look import say, until

    for vessel in found:
        begin, end = (datetime.fromisoformat(vessel[at]) for at in ("created_at", "ends_at"))
        soon = min(SOON, (end - begin) / 10) > end - datetime.now(UTC)
        if soon and vessel["state"] in ("starting", "running", "unreachable"):
            name = vessel["name"]
            say(f"{name} ends in {until(vessel['ends_at'])}.  drc extend {name}  keeps it.")


def show(
    name: EverName,
    id: Id = None,
    live: Annotated[bool, typer.Option("--live", "-l", help="Again every 2 s.")] = False,
    json: Json = False,
) -> None:
    """One vessel: what it has and does, where it is, how it is entered. Of those that ended, the
    last.
    """
    from drc.cli.account import get, print_json
    from drc.cli.live import live as go_on

    if json:
        return print_json(get(f"/v1/vessels/{name}", id=id))
    return go_on(lambda: screen(name, id, short=live), once=not live)


LIVE = ("vessel", "state", "why", "line", "waits for", "host", "gpus", "share", "ends in")
"""What `drc show --live` says besides what goes on, so that all of it fits."""


def screen(name: str, id: str | None, *, short: bool) -> list[str]:
    from drc.cli.account import get
    from drc.cli.use import now

    vessel = get(f"/v1/vessels/{name}", id=id)
    does = now(get(f"/v1/vessels/{name}/use")) if vessel["state"] in ("starting", "running") else []
    lines = [line for line in described(vessel) if not short or line[0] in LIVE]
    lines += [("" if index else "now", line) for index, line in enumerate(does)]
    return [f"{label:<10}{value}" for label, value in lines]


def described(vessel: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines of `drc show`, those that say something."""
    from drc.cli.look import ago, ahead, colour, ordinal, shares, show_gpus, when
    from drc.cli.sshconfig import command

    ssh, living = vessel["ssh"], vessel["state"] not in ("buried", "failed")
    since = "" if living else f", since {when(vessel['state_since'])}"
    where = f"{ssh['user']}@{ssh['address']}:{ssh['port']}"
    lines = [
        ("vessel", f"{vessel['name']} of {vessel['owner']}"),
        ("id", None if living else vessel["id"][:8]),
        ("state", f"{colour(vessel['state'])} for {ago(vessel['state_since'])}{since}"),
        ("why", vessel["reason"]),
        ("line", ordinal(vessel["position"]) if vessel["position"] else None),
        ("waits for", vessel["waits_for"]),
        ("host", vessel["host"]),
        ("queue", ", ".join(vessel["queues"]) if vessel["queues"] != ["default"] else None),
        ("gpus", show_gpus(vessel["gpus"], vessel["gpus_asked"], vessel["models"])),
        ("shares", f"the GPUs of {vessel['shares']}" if vessel["shares"] else None),
        ("share", shares(vessel)),
        ("image", f"{vessel['image']} {(vessel['image_digest'] or '')[:19]}".strip()),
        ("home", vessel["home"]),
        ("age", ago(vessel["created_at"])),
        ("ends in", ahead(vessel["ends_at"]) if living else None),
    ]
    lines += [("", f"{gpu['index']}  {gpu['uuid']}  {gpu['name']}") for gpu in vessel["gpus"]]
    if vessel["state"] == "running":
        lines += [
            ("ssh", f"{' '.join(command(ssh['alias']))}   ({where})"),
            ("code", f"drc code {vessel['name']}"),
            ("jupyter", f"drc jupyter {vessel['name']}"),
        ]
    return [(label, value) for label, value in lines if value]


def stop(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Names of vessels.",
            show_default=False,
            callback=possible,
            autocompletion=complete.living,
        ),
    ],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until they are gone.")] = True,
    save: Annotated[
        bool, typer.Option("--save", help="Keep what is in them for drc create --from, a month.")
    ] = False,
) -> None:
    """End vessels. Homes stay; the same names find them again."""
    from drc.cli import sshconfig
    from drc.cli.account import client
    from drc.cli.create import events_of
    from drc.cli.look import say

    params = {"save": True} if save else None
    stopped = [client().call("POST", f"/v1/vessels/{name}/stop", params=params) for name in names]
    for vessel in stopped:
        if wait and vessel["state"] == "stopping":
            for event in events_of(vessel):
                if event["kind"] in ("buried", "failed"):
                    break
            say(f"{vessel['name']} is gone; its GPUs are free, its home stays.")
        else:
            say(f"{vessel['name']} is {vessel['state']}.")
    sshconfig.sync()


def logs(name: EverName, id: Id = None, json: Json = False) -> None:
    """What a vessel's sshd and Jupyter said last. Of one that ended, its last 200 lines."""
    from drc.cli.account import get, print_json
    from drc.cli.look import say

    answer = get(f"/v1/vessels/{name}/logs", id=id)
    if json:
        return print_json(answer)
    if answer["log"]:
        print(answer["log"], end="" if answer["log"].endswith("\n") else "\n", flush=True)
    for sentence in told(answer):
        say(sentence)
    return None


def told(answer: dict[str, Any]) -> list[str]:
    """What there is to say of a log besides its lines: that it is no more written, and why."""
    from drc.cli.look import ago, when

    name, state, since = answer["name"], answer["state"], answer["state_since"]
    if state in ("queued", "reserved"):
        return [f"{name} is {state}; it has no container yet."]
    said: list[str] = []
    if state in ("buried", "failed"):
        ended = "failed" if state == "failed" else "was buried"
        why = f": {answer['reason'].rstrip('.')}." if answer["reason"] else "."
        said.append(f"{name} {ended} {ago(since)} ago, on {when(since)}{why}")
        if not answer["had_container"]:
            return [*said, "It never had a container, so there is no log."]
    elif state == "unreachable":
        said.append(f"{answer['host']} is silent for {ago(since)}; this is what was kept.")
    if answer["log"] is None:
        said.append("No log of it was kept.")
    elif not answer["log"]:
        said.append("It said nothing.")
    return said
