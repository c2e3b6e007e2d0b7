"""Looking at the fleet."""

from typing import Annotated, Any

import typer

from drc.cli.vessels import Json


def gpus(
    each: Annotated[bool, typer.Option("--each", "-e", help="Every card, and who has it.")] = False,
    ill: Annotated[bool, typer.Option("--ill", help="Those that are ill, and why.")] = False,
    json: Json = False,
) -> None:
    """What is free, held and ill, by model and host."""
    from drc.cli.account import get, print_json
    from drc.cli.look import say

    every = get("/v1/gpus")
    found = [gpu for gpu in every if gpu["ill"]] if ill else every
    if json:
        return print_json(found)
    if not every:
        return say("There are no GPUs.")
    if not found:
        return say(f"All {len(every)} are well.")
    (print_each if each or ill else print_sums)(found)
    count = len(found) if ill else sum(state(gpu) == "free" for gpu in found)
    return say(f"{count} of {len(every)} are {'ill' if ill else 'free'}.", dim=True)


def state(gpu: dict[str, Any]) -> str:
    """`held` whatever else is true of it; `closed` on a host that takes no vessels."""
    if gpu["vessel"]:
        return "held"
    if gpu["ill"]:
        return "ill"
    return "free" if gpu["open"] else "closed"


def kind(gpu: dict[str, Any]) -> str:
    from drc.machine import show_card

    return show_card(gpu["memory_mib"]) + (" simulated" if gpu["simulated"] else "")


def print_sums(found: list[dict[str, Any]]) -> None:
    from collections import Counter

    from drc.cli.look import table

    states = ("free", "held", "ill", "closed")
    groups: dict[tuple[str, str, str], Counter[str]] = {}
    for gpu in found:
        group = gpu["model"], gpu["host"], kind(gpu)
        groups.setdefault(group, Counter())[state(gpu)] += 1
    rows = [
        [*group, *(str(count[state] or "-") for state in states)]
        for group, count in sorted(groups.items())
    ]
    table(["MODEL", "HOST", "MEMORY", *(state.upper() for state in states)], rows)


def print_each(found: list[dict[str, Any]]) -> None:
    from drc.cli.look import table

    rows = [
        [
            gpu["host"],
            str(gpu["index"]),
            gpu["model"],
            kind(gpu),
            state(gpu),
            f"{gpu['vessel']} of {gpu['owner']} ({gpu['state']})" if gpu["vessel"] else "-",
            gpu["ill"] or "",
        ]
        for gpu in found
    ]
    table(["HOST", "GPU", "MODEL", "MEMORY", "STATE", "VESSEL", "ILL"], rows)
