"""What every bench prints, and how it ends."""

import json
import math
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.machine import describe
from drc.errors import DrcError

Targets = Mapping[str, Mapping[str, float]]


def percentile(values: Sequence[float], percent: float) -> float:
    """Interpolated between the two nearest ranks, as numpy and Postgres do it."""
    ranked = sorted(values)
    place = (len(ranked) - 1) * percent / 100
    below, above = math.floor(place), math.ceil(place)
    return ranked[below] + (ranked[above] - ranked[below]) * (place - below)


def p50(values: Sequence[float]) -> float:
    return percentile(values, 50)


def finish(bench: str, figures: Mapping[str, Any], targets: Targets) -> None:
    """The figures as lines, what was promised of them, and the same as one line of JSON."""
    met = True
    print()
    for name, value in figures.items():
        verdict = ""
        for bound, limit in targets.get(name, {}).items():  # nan keeps no promise
            kept = value <= limit if bound == "max" else value >= limit
            met = met and kept
            words = "at most" if bound == "max" else "at least"
            verdict = f"   {words} {limit:g}: {'met' if kept else 'MISSED'}"
        if not isinstance(value, Mapping):
            print(f"  {name:<24}{value:>10.3f}{verdict}")
    print()
    print(json.dumps({"bench": bench, "figures": figures, "targets": targets, "met": met}))


def run(bench: Callable[[], None]) -> None:
    """Exit status 0 when it measured (whatever it found), 1 when it could not, 130 on Ctrl-C."""
    for ending in (signal.SIGINT, signal.SIGTERM):  # either way, what was made is cleaned up
        signal.signal(ending, signal.default_int_handler)
    try:
        print(f"on {describe()}", flush=True)
        bench()
    except DrcError as failed:
        sys.exit(f"{failed.message}  {failed.hint}".strip())
    except KeyboardInterrupt:
        sys.exit(130)
