"""Whether any host could ever hold a vessel: what none could is refused at once, not queued."""

import time
from dataclasses import dataclass, field

from drc import fleet
from drc.db import Database, Row
from drc.errors import NothingFits
from drc.fleet import Wish
from drc.machine import MIB, show_card, show_memory

FRESH = 1.0
"""Seconds for which the fleet's shape is remembered; a refusal is only made on a new look."""


@dataclass(slots=True)
class Capacity:
    db: Database
    rows: list[Row] = field(default_factory=list[Row])
    read_at: float = 0.0

    def check(self, wish: Wish) -> None:
        """Raises NothingFits when no host could hold the wish even if it were empty."""
        if time.monotonic() - self.read_at > FRESH or why_never(self.rows, wish):
            self.rows = fleet.read_capacity(self.db)
            self.read_at = time.monotonic()
        refusal = why_never(self.rows, wish)
        if refusal:
            raise refusal


def why_never(rows: list[Row], wish: Wish) -> NothingFits | None:
    """The first reason, from the general to the particular, that nothing can ever hold the wish."""
    if wish.host:
        rows = [row for row in rows if row["host"] == wish.host]
        if not rows:
            return NothingFits(f"There is no host called {wish.host}.", hint="drc gpus")
    if not rows:
        return NothingFits("No host is ready yet.", hint="drc up  adds this machine as the first.")
    asked = " or ".join(wish.models) if wish.models else "GPU"
    if wish.gpus:
        there = sorted({row["model"] for row in rows if row["model"]})
        if not there:
            return NothingFits("No host has a GPU.", hint="--gpus 0 asks for a vessel without one.")
        rows = [row for row in rows if row["model"] in (wish.models or there)]
        if not rows:
            return NothingFits(f"No host has any {asked}.", hint="There are: " + ", ".join(there))
        largest = max(rows, key=lambda row: row["gpu_memory_mib"])
        rows = [row for row in rows if row["gpu_memory_mib"] >= wish.gpu_memory_mib]
        if not rows:
            return NothingFits(
                f"No {asked} has {wish.gpu_memory_mib * MIB / 1e9:.0f} GB of memory.",
                hint=f"The largest, {largest['model']}, "
                f"has {show_card(largest['gpu_memory_mib'])}.",
            )
        most = max(rows, key=lambda row: row["gpus"])
        rows = [row for row in rows if row["gpus"] >= wish.gpus]
        if not rows:
            return NothingFits(
                f"No host has {wish.gpus} × {asked}.",
                hint=f"The most in one host are {most['gpus']} × {most['model']}, "
                f"{show_card(most['gpu_memory_mib'])} each.",
            )
    # a share per GPU always fits; the defaults without a GPU are those of reserve_vessel.sql
    needed_cpus = wish.millicpus or (0 if wish.gpus else 2000)
    needed_mib = wish.memory_mib or (0 if wish.gpus else 4096)
    cpus = max(rows, key=lambda row: row["millicpus"])
    rows = [row for row in rows if row["millicpus"] >= needed_cpus]
    if not rows:
        return NothingFits(
            f"No host that would do has {needed_cpus / 1000:g} CPUs.",
            hint=f"The most are {cpus['millicpus'] / 1000:g}.",
        )
    memory = max(rows, key=lambda row: row["memory_mib"])
    if memory["memory_mib"] < needed_mib:
        return NothingFits(
            f"No host that would do has {show_memory(needed_mib)} of memory.",
            hint=f"The most is {show_memory(memory['memory_mib'])}.",
        )
    return None
