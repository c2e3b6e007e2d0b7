"""`drc why` and `drc keep`: what the undertaker thinks of a vessel, and what its owner says."""

from typing import Annotated, Any

import typer

from drc.cli.vessels import Json, Name


def why(name: Name, json: Json = False) -> None:
    """Whether a vessel is idle, since when, and what happens next."""
    from drc.cli.account import get, print_json

    told = get(f"/v1/vessels/{name}/why")
    if json:
        return print_json(told)
    for label, value in screen(told):
        print(f"{label:<9}{value}")
    return None


def screen(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and line, of what there is to say."""
    from drc.cli.look import ago, when
    from drc.spark import spark

    seen = told["evidence"]
    lines = [("vessel", f"{told['name']}, {told['state']}"), ("because", told["reason"])]
    if told["judged_at"]:
        lines.append(("judged", f"{ago(told['judged_at'])} ago"))
    if seen.get("looks"):
        averages = ", ".join(f"{one:g} %" for one in seen["averages"])
        lines.append(("seen", f"{averages} of each GPU on average, in {seen['looks']} looks"))
    if seen.get("last_24h"):
        lines.append(("24 hours", spark(seen["last_24h"])))
    if told["warned_at"] and told["told_at"]:
        lines.append(("warned", f"{when(told['warned_at'])}, delivered"))
    elif told["warned_at"]:
        trouble = f": {told['trouble']}" if told["trouble"] else ""
        lines.append(("warned", f"{when(told['warned_at'])}, not delivered yet{trouble}"))
    if told["kept_until"]:
        because = f", for: {told['kept_why']}" if told["kept_why"] else ""
        lines.append(("kept", f"until {when(told['kept_until'])}{because}"))
    lines.append(("next", after(told)))
    return lines


def after(told: dict[str, Any]) -> str:
    from drc.cli.look import when

    ends = f"it ends {when(told['ends_at'])} in any case: drc extend {told['name']}"
    if not told["bury_at"]:
        return ends
    left = told["keeps_left"]
    keep = f"drc keep {told['name']}" if left else "it can be kept no more"
    return f"if it stays idle it is buried {when(told['bury_at'])}: use its GPUs, or {keep}"


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

    at = parse_time(until).isoformat() if until is not None else None
    kept = client().call("POST", f"/v1/vessels/{name}/keep", {"until": at, "why": reason})
    if json:
        return print_json(kept)
    left = kept["keeps_left"]
    say(f"{name} is kept until {when(kept['kept_until'])}.")
    again = f"{left} more times" if left > 1 else "once more" if left else "no more"
    say(f"  You can do that {again} until its GPUs are used.", dim=True)
    return None
