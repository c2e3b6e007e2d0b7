"""What a vessel does now, and did in the last hours: a part of `drc show`."""

from collections.abc import Sequence
from typing import Any

from drc.cli.look import dim, paint, printable
from drc.machine import show_memory
from drc.spark import spark

HEAD = ("gpu", "use", "memory", "power", "heat", "the last 6 h")
BUSY = 5.0  # per cent; below it a GPU does next to nothing


def now(use: dict[str, Any]) -> list[str]:
    """Lines for people; none where nothing is measured."""
    if not use["measured"]:
        return [printable(use["why"])] if use["why"] else []
    return [*gpus(use["gpus"]), *inside(use)]


def gpus(found: Sequence[dict[str, Any]]) -> list[str]:
    if not found:
        return []
    rows = [HEAD, *(row(gpu) for gpu in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            (*(cell.rjust(width) for cell, width in zip(cells[:-1], widths, strict=False)),
             cells[-1])
        )
        for cells in rows
    ]  # fmt: skip
    return [dim(lines[0]), *map(loaded, found, lines[1:])]


def loaded(gpu: dict[str, Any], line: str) -> str:
    """In yellow where it is held and does nothing; else its past in the colour of `drc top`."""
    load, past = gpu["utilisation"], spark(gpu["hours"])
    if load is not None and load < BUSY:
        return paint(line, fg="yellow")
    return line.removesuffix(past) + paint(past, fg="cyan")


def row(gpu: dict[str, Any]) -> tuple[str, ...]:
    used, watts, heat = gpu["memory_used_mib"], gpu["power_w"], gpu["temperature_c"]
    return (
        str(gpu["index"]),
        percent(gpu["utilisation"]),
        "-" if used is None else gib(used, gpu["memory_mib"]),
        "-" if watts is None else f"{watts:.0f} W",
        "-" if heat is None else f"{heat:.0f} °C",
        spark(gpu["hours"]),
    )


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} %"


def gib(used: int, total: int) -> str:
    """`60/80 GiB`."""
    return f"{used / 1024:.0f}/{total / 1024:.0f} GiB"


def inside(use: dict[str, Any]) -> list[str]:
    """Of its container, as far as a conductor tells."""
    said: list[str] = []
    if use["cpus_used"] is not None:
        said.append(f"{use['cpus_used']:.1f} of {use['cpus']:g} CPUs")
    if use["memory_used_mib"] is not None:
        used, total = use["memory_used_mib"], use["memory_mib"]
        said.append(f"{show_memory(used)} of {show_memory(total)}")
    lines = [" · ".join(said)] if said else []
    came, went = use["received_bytes_per_s"], use["sent_bytes_per_s"]
    if came is not None and went is not None:
        lines.append(f"network {speed(came)} in, {speed(went)} out")
    return lines


def speed(bytes_per_s: float) -> str:
    """`1.9 MB/s`."""
    for unit in ("B/s", "kB/s", "MB/s"):
        if bytes_per_s < 999.5:
            return f"{bytes_per_s:.3g} {unit}"
        bytes_per_s /= 1000
    return f"{bytes_per_s:.3g} GB/s"
