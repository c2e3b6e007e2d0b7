"""`drc queue`: names for some of the hosts, and who waits for them."""

from typing import Annotated

import typer

from drc.cli import complete
from drc.cli.vessels import Json

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Queues: which hosts, who may, who waits."
)
NAME = r"[a-z][a-z0-9-]{0,39}"


def possible(name: str) -> str:
    """What can be no queue's name finds none; sent, it could lead to another page of the API."""
    import re

    from drc.errors import NoSuchQueue

    if not re.fullmatch(NAME, name):
        raise NoSuchQueue(f"There is no queue called {name}.", hint="drc queue list")
    return name


def new(name: str) -> str:
    import re

    from drc.errors import BadInput

    if not re.fullmatch(NAME, name):
        raise BadInput(
            f"“{name}” cannot be a queue's name: a-z, 0-9 and -, a letter first, 40 at most.",
            hint="For example: vision.",
        )
    return name


@app.command("list")
def list_(json: Json = False) -> None:
    """Every queue: its hosts, what is free in them, how many vessels wait."""
    from drc.cli.account import get, print_json
    from drc.cli.look import table

    found = get("/v1/queues")
    if json:
        return print_json(found)
    rows = [
        [
            queue["name"],
            who(queue["users"]),
            ", ".join(queue["hosts"]) or "-",
            f"{queue['gpus_free']} of {queue['gpus']}",
            str(queue["waiting"]),
        ]
        for queue in found
    ]
    return table(["QUEUE", "FOR", "HOSTS", "GPUS FREE", "WAITING"], rows)


def who(users: list[str] | None) -> str:
    return "everybody" if users is None else ", ".join(users) or "nobody"


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="The queue's name.",
            show_default=False,
            callback=possible,
            autocompletion=complete.queues,
        ),
    ],
    json: Json = False,
) -> None:
    """One queue, and who waits in it, in their order."""
    from drc.cli.account import get, print_json
    from drc.cli.look import ago, say, table

    queue = get(f"/v1/queues/{name}")
    if json:
        return print_json(queue)
    for label, value in (
        ("queue", name),
        ("for", who(queue["users"])),
        ("hosts", ", ".join(queue["hosts"]) or "none"),
        ("gpus", f"{queue['gpus_free']} of {queue['gpus']} free"),
    ):
        print(f"{label:<8}{value}")
    if not queue["line"]:
        return say("Nobody waits.")
    rows = [
        [
            str(place),
            vessel["owner"],
            vessel["name"],
            f"{vessel['gpus']} × {' or '.join(vessel['models'] or ['any'])}"
            if vessel["gpus"]
            else "none",
            ago(vessel["created_at"]),
        ]
        for place, vessel in enumerate(queue["line"], 1)
    ]
    return table(["#", "OWNER", "VESSEL", "GPUS", "WAITS"], rows)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Its name.", show_default=False, callback=new)],
    user: Annotated[
        list[str] | None,
        typer.Option(help="Who may use it, as they sign in; several times. Default: everybody."),
    ] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="Close it to everybody.")] = False,
) -> None:
    """Add a queue, or change who may use one."""
    from drc.cli.account import client
    from drc.cli.look import say
    from drc.errors import BadInput

    if user and nobody:
        raise BadInput("A queue for nobody has no users.", hint="--user or --nobody")
    users = [] if nobody else user
    client().call("POST", "/v1/queues", {"name": name, "users": users})
    say(f"The queue {name} is for {who(users)}.  drc host set HOST --queue {name}  puts hosts in.")
