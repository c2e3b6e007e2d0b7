"""How things look in a terminal: columns, colours, ages. stdout is data, stderr is talk."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from drc.machine import show_card, show_memory

COLOURS = {
    "running": "green",
    "queued": "yellow",
    "reserved": "cyan",
    "starting": "cyan",
    "stopping": "magenta",
    "unreachable": "red",
    "failed": "red",
    "buried": "bright_black",
    "free": "green",
    "taken": "green",
    "open": "green",
    "cordoned": "yellow",
    "uncommitted": "yellow",
    "ill": "red",
}


def colour(word: str) -> str:
    """A state in its colour."""
    fg = COLOURS.get(word)
    return paint(word, fg=fg) if fg else word


def has_colour() -> bool:
    """Whether standard output is a terminal whose owner wants colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def paint(text: str, **style: Any) -> str:
    return typer.style(text, **style) if has_colour() else text


def dim(text: str) -> str:
    return paint(text, dim=True)


def width() -> int:
    """Of the terminal, or as COLUMNS says."""
    return shutil.get_terminal_size().columns


def folded(text: str, margin: int) -> list[str]:
    """As lines that fit beside a margin, on a terminal; elsewhere as one, to be searched."""
    room = width() - margin
    return textwrap.wrap(text, room) if sys.stdout.isatty() and room > 20 else [text]


def say(text: str = "", **style: Any) -> None:
    """Talk, on stderr."""
    typer.secho(text, err=True, **style)


def printable(text: str) -> str:
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they must be, on stdout; states are coloured, and a last column that is
    too long for the terminal goes on below itself.

    What others wrote may hold commands for a terminal, so only what can be printed is.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    title = "  ".join(word.ljust(width) for word, width in zip(head, widths, strict=True)).rstrip()
    print(paint(title, bold=True))
    margin = sum(widths[:-1]) + 2 * len(widths[:-1])
    for row in rows:
        last, *others = folded(row[-1], margin) or [""]
        cells = [
            colour(cell) + " " * (width - len(cell))
            for cell, width in zip([*row[:-1], last], widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
        for other in others:
            print(" " * margin + other)


def show_gpus(
    gpus: Sequence[dict[str, Any]], asked: int = 0, models: Sequence[str] | None = None
) -> str:
    """`2 × a100 80 GB`, and what was asked for while nothing is held yet."""
    if not gpus:
        return f"{asked} × {' or '.join(models or ['any'])}" if asked else "none"
    kinds: dict[tuple[str, int, bool], int] = {}
    for gpu in gpus:
        kind = (gpu["model"], gpu["memory_mib"], gpu["simulated"])
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(
        f"{count} × {model} {show_card(memory)}" + (" simulated" if simulated else "")
        for (model, memory, simulated), count in kinds.items()
    )


def show_span(span: timedelta) -> str:
    """The two largest parts of a duration that matter: `3d 4h`, `12 min`, `40 s`."""
    seconds = max(0, round(span.total_seconds()))
    if seconds > 86400:
        seconds = round(seconds / 3600) * 3600
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days}d {hours}h" if hours else f"{days}d"
    if hours:
        return f"{hours}h {minutes}min" if minutes else f"{hours}h"
    return f"{minutes} min" if minutes else f"{seconds} s"


def ago(stamp: str) -> str:
    return show_span(datetime.now(UTC) - datetime.fromisoformat(stamp))


def until(stamp: str) -> str:
    return show_span(datetime.fromisoformat(stamp) - datetime.now(UTC))


def when(stamp: str) -> str:
    """An instant on the reader's own clock: `Tue 4 Aug 18:20`, with its year if not this one."""
    then = datetime.fromisoformat(stamp).astimezone()
    year = "" if then.year == datetime.now().year else f" {then.year}"
    return f"{then:%a} {then.day} {then:%b}{year} {then:%H:%M}"


def ahead(stamp: str) -> str:
    """`7d, on Tue 4 Aug 18:20` of an instant to come."""
    return f"{until(stamp)}, on {when(stamp)}"


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else last}"


def count(number: int, noun: str) -> str:
    """`1 vessel`, `2 vessels`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shares(vessel: dict[str, Any]) -> str:
    """`16 CPUs · 64 GiB` of what a vessel was given."""
    if vessel["cpus"] is None:
        return ""
    unit = "CPU" if vessel["cpus"] == 1 else "CPUs"
    return f"{vessel['cpus']:g} {unit} · {show_memory(vessel['memory_mib'])}"
