"""What Prometheus says of GPUs and vessels now, and of the last hours."""

import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from drc.errors import MetricsUnreachable
from drc.prometheus import OF_SLICES, UTILISATION, Prometheus, gpu_of, quoted

PATIENCE = 3.0  # seconds for an answer; a person waits for it
KEPT = 2.0  # seconds for which what was said of the fleet is said again: many may look at it
SILENCE = 10.0  # seconds in which one that did not answer is not asked again
STEP = timedelta(minutes=15)
POINTS = 24  # of the last hours
BLANK = 1e15  # old exporters print 9223372036854775794 where there is no value
MEMORY, POWER, TEMPERATURE = (
    "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_TEMP",
)  # fmt: skip
NOW = "|".join((UTILISATION, OF_SLICES, MEMORY, POWER, TEMPERATURE))
CONTAINER = {
    "cpus": "rate(drc_vessel_cpu_seconds_total{%s}[2m])",
    "memory": "drc_vessel_memory_bytes{%s}",
    "received": "rate(drc_vessel_network_receive_bytes_total{%s}[2m])",
    "sent": "rate(drc_vessel_network_transmit_bytes_total{%s}[2m])",
}
T = TypeVar("T")
Values = Mapping[tuple[str, str], float]
"""By metric, and by the GPU as gpu.measured calls it."""


@dataclass(frozen=True, slots=True)
class Use:
    """Of one GPU, as far as somebody measures it."""

    utilisation: float | None = None
    """In per cent."""
    memory_used_mib: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None


class Measured:
    """One Prometheus, for all who ask. Its methods raise MetricsUnreachable, and soon."""

    def __init__(self, url: str) -> None:
        self.prometheus = Prometheus(url, patience=PATIENCE)
        self.lock = threading.Lock()
        self.fleet: tuple[float, Values] = (0.0, {})
        self.silent_until = 0.0
        self.trouble = ""

    def of_fleet(self) -> Values:
        """Everything that anybody measures; a few seconds old at most."""
        with self.lock:  # whoever comes meanwhile gets the same answer
            if time.monotonic() > self.fleet[0] + KEPT:
                self.fleet = time.monotonic(), self._ask(lambda: self._now('UUID!=""'))
            return self.fleet[1]

    def of_gpus(self, gpus: Collection[str]) -> Values:
        return self._ask(lambda: self._now(f"UUID=~{cards(gpus)}")) if gpus else {}

    def hours(self, gpus: Collection[str], now: datetime) -> dict[str, list[float | None]]:
        """How busy each GPU was on average in each of the last POINTS steps, in per cent."""
        return self._ask(lambda: self._hours(gpus, int(now.timestamp()))) if gpus else {}

    def of_vessel(self, name: str, owner: str, host: str) -> dict[str, float]:
        """CPUs, memory (bytes) and network (bytes a second), those that a conductor told."""
        whose = f"vessel={quoted(name)},owner={quoted(owner)},host={quoted(host)}"
        # several conductors may tell of one vessel
        parts = [
            f'label_replace(max({series % whose}),"what","{what}","","")'
            for what, series in CONTAINER.items()
        ]
        told = self._ask(lambda: self.prometheus.query(" or ".join(parts)))
        return {labels["what"]: value for labels, value in told}

    def _ask(self, query: Callable[[], T]) -> T:
        if time.monotonic() < self.silent_until:
            raise MetricsUnreachable(self.trouble)
        try:
            return query()
        except MetricsUnreachable as failed:
            self.trouble, self.silent_until = failed.message, time.monotonic() + SILENCE
            raise

    def _now(self, which: str) -> Values:
        # duplicates: exporters that two of them scrape, a job mapping of several jobs
        query = f'max by (__name__, UUID, GPU_I_ID) ({{__name__=~"{NOW}",{which}}})'
        told = self.prometheus.query(query)
        return {(one["__name__"], gpu_of(one)): value for one, value in told if value < BLANK}

    def _hours(self, gpus: Collection[str], now: int) -> dict[str, list[float | None]]:
        step = int(STEP.total_seconds())
        ends = range(now - (POINTS - 1) * step, now + 1, step)
        which = f"UUID=~{cards(gpus)}"
        query = (
            f'max by (UUID, GPU_I_ID) (avg_over_time({UTILISATION}{{{which},GPU_I_ID=""}}[{step}s])'
            f' or 100 * avg_over_time({OF_SLICES}{{{which},GPU_I_ID!=""}}[{step}s]))'
        )
        told = self.prometheus.query_range(query, ends[0], ends[-1], step)
        return {gpu_of(one): [values.get(end) for end in ends] for one, values in told}

    def close(self) -> None:
        self.prometheus.close()


def cards(gpus: Collection[str]) -> str:
    """The UUIDs that the series of GPUs bear, as a regular expression of PromQL."""
    return quoted("|".join(re.escape(card) for card in sorted({card_of(gpu) for gpu in gpus})))


def card_of(gpu: str) -> str:
    return gpu.partition("/")[0]


def use_of(values: Values, gpu: str) -> Use:
    """Of one GPU. A slice has memory and load of its own, and is as warm as its card; how much of
    the card's power goes into it nobody knows.
    """
    load = values.get((UTILISATION, gpu))
    if "/" in gpu:
        part = values.get((OF_SLICES, gpu))
        load = None if part is None else 100 * part
    memory = values.get((MEMORY, gpu))
    warmth = values.get((TEMPERATURE, gpu), values.get((TEMPERATURE, card_of(gpu))))
    return Use(load, None if memory is None else round(memory), values.get((POWER, gpu)), warmth)
