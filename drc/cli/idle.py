"""`drc why` and `drc keep`: what the undertaker thinks of a vessel, and what its owner says."""

from typing import Annotated

import typer

from drc.cli.vessels import Json, Name


def why(name: Name, json: Json = False) -> None:
    """Whether a vessel is idle, since when, and what happens next."""
    from drc.cli.account import get, print_json
    from drc.cli.look import ago, when
    from drc.why import screen

    told = get(f"/v1/vessels/{name}/why")
    if json:
        return print_json(told)
    for label, value in screen(told, when, ago):
        print(f"{label:<9}{value}")
    return None


def keep(
    name: Name,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Default: as long as the policy lets you.")
    ] = None,
    reason: Annotated[str, typer.Option("--because", help="For whoever asks later.")] = "",
    json: Json = False,
) -> None:
    """Keep an idle vessel from being buried."""
    from drc.cli.account import client, print_json
    from drc.cli.extend import parse_time
    from drc.cli.look import say, when
    from drc.why import again

    at = parse_time(until).isoformat() if until is not None else None
    kept = client().call("POST", f"/v1/vessels/{name}/keep", {"until": at, "why": reason})
    if json:
        return print_json(kept)
    say(f"{name} is kept until {when(kept['kept_until'])}.")
    say(f"  You can do that {again(kept['keeps_left'])} until its GPUs are used.", dim=True)
    return None
