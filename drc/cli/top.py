"""`drc top`: the fleet at a glance."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import typer

from drc.cli.fleet import state
from drc.cli.vessels import Json

ASK = typer.Option
MARKS = {"free": "□", "ill": "✗", "closed": "–", "held": "■"}
COLOURS = {"free": "green", "ill": "red", "closed": "bright_black", "held": "cyan"}
STATES = ("held", "ill", "free", "closed")
LEGEND = "▁…█ held, and how busy   ■ held   ? unreachable   □ free   ✗ ill   – closed"
NARROW, WIDE = 16, 32  # GPUs in a bar
NAME = 20  # letters
FRAME = 6  # lines around the rows


class By(StrEnum):
    HOST = "host"
    OWNER = "owner"
    QUEUE = "queue"


@dataclass(slots=True)
class Group:
    """A line: some GPUs that have a host, an owner or a queue in common."""

    name: str
    gpus: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    waiting: int = 0

    @property
    def held(self) -> int:
        return sum(state(gpu) == "held" for gpu in self.gpus)


def top(
    by: Annotated[By, ASK("--by", help="A line for each of these.")] = By.HOST,
    once: Annotated[bool, ASK("--once", help="Do not go on drawing.")] = False,
    json: Json = False,
) -> None:
    """The fleet at a glance: what is held, by whom, and how busy it is."""
    from drc.cli.account import get, print_json
    from drc.cli.live import live

    if json:
        return print_json(get("/v1/use"))
    return live(lambda: screen(by), once=once)


def screen(by: By) -> list[str]:
    import shutil
    import sys

    from drc.cli.account import get

    use = get("/v1/use")
    waiting = {q["name"]: q["waiting"] for q in get("/v1/queues")} if by is By.QUEUE else {}
    size = shutil.get_terminal_size()
    most = max(size.lines - FRAME, 3) if sys.stdout.isatty() else None
    return lines_of(use, grouped(use, by, waiting), by, size.columns, most)


def grouped(use: dict[str, Any], by: By, waiting: dict[str, int]) -> list[Group]:
    """The most held first."""
    groups = {name: Group(name, waiting=count) for name, count in waiting.items()}
    for host in use["hosts"]:
        for gpu in host["gpus"]:
            known = {**gpu, "host": host["host"], "open": host["open"]}
            for name in keys_of(known, host["queues"], by):
                groups.setdefault(name, Group(name)).gpus.append(known)
    return sorted(groups.values(), key=lambda group: (-group.held, natural(group.name)))


def keys_of(gpu: dict[str, Any], queues: list[str], by: By) -> list[str]:
    if by is By.QUEUE:
        return queues
    if by is By.OWNER:
        return [gpu["owner"]] if gpu["owner"] else []
    return [gpu["host"]]


def natural(name: str) -> list[tuple[int, str]]:
    """gpu2 before gpu10."""
    return [(int(number or 0), word) for word, number in re.findall(r"(\D*)(\d*)", name)]


def lines_of(
    use: dict[str, Any], groups: Sequence[Group], by: By, width: int, most: int | None
) -> list[str]:
    """A summary, a table as wide as the terminal, and what the marks mean."""
    from drc.cli.look import dim, paint, printable

    every = [{**gpu, "open": host["open"]} for host in use["hosts"] for gpu in host["gpus"]]
    if not every:
        return ["There are no GPUs."]
    room = WIDE if width >= 110 else NARROW
    head = (by.upper(), "GPUS", "HELD", "BUSY", "MEMORY", "WHERE" if by is By.OWNER else "WHO")
    shown = groups[:most]
    rows = [cells(group, by, room) for group in shown]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    widths[-1] = width - sum(widths[:-1]) - 2 * (len(head) - 1)
    lines = [paint(summary(every), bold=True), "", paint(line(head, widths), bold=True)]
    lines += [
        line(row, widths, bar(group.gpus, room, plain=False))
        for row, group in zip(rows, shown, strict=True)
    ]
    if len(groups) > len(shown):
        rest = [gpu for group in groups[len(shown) :] for gpu in group.gpus]
        lines.append(dim(f"and {len(groups) - len(shown)} more: {summary(rest)}"))
    notes = LEGEND if use["measured"] else use["why"] or "Nothing is measured here."
    return [*lines, "", dim(cut(printable(notes), width))]


def cells(group: Group, by: By, room: int) -> tuple[str, ...]:
    from drc.cli.look import printable
    from drc.cli.use import gib, percent

    known = [gpu for gpu in group.gpus if gpu["memory_used_mib"] is not None]
    used, total = (sum(gpu[key] for gpu in known) for key in ("memory_used_mib", "memory_mib"))
    return (
        cut(printable(group.name), NAME),
        bar(group.gpus, room),
        f"{group.held}/{len(group.gpus)}",
        percent(busy(group.gpus)),
        gib(used, total) if known else "-",
        printable(where(group.gpus) if by is By.OWNER else who(group)),
    )


def line(row: Sequence[str], widths: Sequence[int], painted: str = "") -> str:
    """`painted`: the bar in its colours, which have no width."""
    name, gpus, *numbers, who = row
    parts = (
        name.ljust(widths[0]),
        (painted or gpus) + " " * (widths[1] - len(gpus)),
        *(cell.rjust(width) for cell, width in zip(numbers, widths[2:-1], strict=True)),
        cut(who, widths[-1]),
    )
    return "  ".join(parts).rstrip()


def bar(gpus: Sequence[dict[str, Any]], room: int, *, plain: bool = True) -> str:
    """A mark for each GPU; for several, in their order of states, where there are too many."""
    from drc.cli.look import paint

    if len(gpus) > room:
        ordered = sorted(
            gpus, key=lambda gpu: (STATES.index(state(gpu)), -(gpu["utilisation"] or 0))
        )
        gpus = [ordered[int((at + 0.5) * len(gpus) / room)] for at in range(room)]
    marks = map(mark, gpus)
    return "".join(letter if plain else paint(letter, fg=fg) for letter, fg in marks)


def mark(gpu: dict[str, Any]) -> tuple[str, str]:
    """Its letter and colour; of one that is held, how busy it is, if that is known."""
    from drc.cli.use import BUSY
    from drc.spark import spark

    what, load = state(gpu), gpu["utilisation"]
    if gpu["state"] == "unreachable":
        return "?", "red"
    if what != "held" or load is None:
        return MARKS[what], COLOURS[what]
    return spark([load]), "cyan" if load >= BUSY else "yellow"


def busy(gpus: Iterable[dict[str, Any]]) -> float | None:
    """The mean of those that are held and measured, in per cent."""
    loads = [gpu["utilisation"] for gpu in gpus if gpu["vessel"] and gpu["utilisation"] is not None]
    return sum(loads) / len(loads) if loads else None


def summary(gpus: Sequence[dict[str, Any]]) -> str:
    """`7 of 12 GPUs are held · 4 free · 1 ill · 61 % busy`."""
    count = Counter(map(state, gpus))
    said = [f"{count['held']} of {len(gpus)} GPUs are held"]
    said += [f"{count[what]} {what}" for what in ("free", "ill", "closed") if count[what]]
    load = busy(gpus)
    return " · ".join([*said, *([f"{load:.0f} % busy"] if load is not None else [])])


def who(group: Group) -> str:
    owners = Counter(gpu["owner"] for gpu in group.gpus if gpu["owner"])
    said = [f"{owner} {count}" for owner, count in owners.most_common()]
    return ", ".join([*([f"{group.waiting} wait"] if group.waiting else []), *said])


def where(gpus: Iterable[dict[str, Any]]) -> str:
    vessels = Counter(f"{gpu['vessel']} on {gpu['host']}" for gpu in gpus)
    return ", ".join(f"{vessel} {count}" for vessel, count in vessels.most_common())


def cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 1, 0)] + "…"
