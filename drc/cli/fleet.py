"""Looking at the fleet."""

from typing import Annotated, Any

import typer

from drc.cli.vessels import Json


def gpus(
    each: Annotated[bool, typer.Option("--each", "-e", help="Every card, and who has it.")] = False,
    json: Json = False,
) -> None:
    """What is free, held and ill, by model and host."""
    from drc.cli.account import get, print_json
    from drc.cli.look import say

    found = get("/v1/gpus")
    if json:
        return print_json(found)
    if not found:
        return say("There are no GPUs.")
    (print_each if each else print_sums)(found)
    free = sum(state(gpu) == "free" for gpu in found)
    return say(f"{free} of {len(found)} are free.", dim=True)


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
