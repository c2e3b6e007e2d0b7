"""How busy GPUs were, from Prometheus: few queries, each for many GPUs and a stretch of time.

A look is a quarter of an hour, unless the policy says otherwise, counted back from now. Of work
time there is a look after the other; of a stretch without work there is one, which only tells
whether anything ran.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from drc import prometheus
from drc.prometheus import OF_SLICES, UTILISATION, gpu_of
from undertaker.verdict import NONE, Look
from undertaker.worktime import Calendar

AT_ONCE = 1000  # GPUs in one query: 40 kB of it are their names

Series = Mapping[str, Mapping[int, float]]
"""For each GPU's UUID what it did, in per cent, by the second in which a while ended."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Looks of one length, one after the other, with ends in (begin, end]."""

    begin: datetime
    end: datetime
    each: timedelta
    is_work: bool


def stretches(
    calendar: Calendar, since: datetime, now: datetime, step: timedelta, *, off: bool
) -> list[Stretch]:
    """What is asked for to see the time between two instants, in looks of a step.

    `off`: also the time without work.
    """
    found: list[Stretch] = []
    last = since
    for begin, end in calendar.spans(since, now):
        # looks are counted back from now, so the first and last of a span may reach beyond it
        first = now - math.floor((now - begin) / step) * step
        if first <= begin or (found and first - step < last):  # what was seen is not seen twice
            first += step
        final = now - math.floor((now - end) / step) * step
        if off and first - step > last:
            found.append(Stretch(last, first - step, first - step - last, is_work=False))
        found.append(Stretch(first - step, final, step, is_work=True))
        last = final
    if off and now > last:
        found.append(Stretch(last, now, now - last, is_work=False))
    return found


def looks(
    asked: Iterable[Stretch],
    gpus: Sequence[str],
    told: Mapping[Stretch, Series],
    calendar: Calendar,
) -> list[Look]:
    """What was answered, as a vessel with these GPUs saw it."""
    found: list[Look] = []
    for stretch in asked:
        series = [told[stretch].get(gpu, {}) for gpu in gpus]
        for begin, end, work in whiles(stretch, calendar):
            second = int(end.timestamp())
            found.append(Look(begin, end, work, tuple(one.get(second) for one in series)))
    return found


@lru_cache(maxsize=256)
def whiles(
    stretch: Stretch, calendar: Calendar
) -> tuple[tuple[datetime, datetime, timedelta], ...]:
    """Begin, end and work time of each look: the same for every vessel of a calendar."""
    found: list[tuple[datetime, datetime, timedelta]] = []
    at = stretch.begin
    while at < stretch.end:
        end = at + stretch.each
        found.append((at, end, calendar.between(at, end) if stretch.is_work else NONE))
        at = end
    return tuple(found)


class Prometheus(prometheus.Prometheus):
    """Asked for looks. Raises MetricsUnreachable. A GPU is called as `prometheus.gpu_of` does."""

    def ask(self, stretch: Stretch, gpus: Sequence[str]) -> dict[str, dict[int, float]]:
        """How busy each GPU was in the looks of a stretch; one that nobody saw is left out."""
        told: dict[str, dict[int, float]] = {}
        whole = sorted(gpu for gpu in gpus if "/" not in gpu)
        cut = sorted({gpu.partition("/")[0] for gpu in gpus if "/" in gpu})
        for some in in_parts(whole):
            self._ask(stretch, f'{UTILISATION}{{UUID=~"{some}",GPU_I_ID=""}}', 1, told)
        for some in in_parts(cut):
            self._ask(stretch, f'{OF_SLICES}{{UUID=~"{some}",GPU_I_ID!=""}}', 100, told)
        return told

    def _ask(
        self, stretch: Stretch, series: str, scale: int, told: dict[str, dict[int, float]]
    ) -> None:
        """Adds to `told`."""
        seconds = int(stretch.each.total_seconds())
        kind = "avg" if stretch.is_work else "max"
        # duplicates: two Prometheis that scrape the same, a job mapping of several jobs
        query = f"{scale} * max by (UUID, GPU_I_ID) ({kind}_over_time({series}[{seconds}s]))"
        first, last = int(stretch.begin.timestamp()) + seconds, int(stretch.end.timestamp())
        for labels, values in self.query_range(query, first, last, seconds):
            told.setdefault(gpu_of(labels), {}).update(values)


def in_parts(names: Sequence[str]) -> Iterator[str]:
    """As regular expressions of not too many names."""
    for at in range(0, len(names), AT_ONCE):
        yield "|".join(names[at : at + AT_ONCE])


def floor(now: datetime) -> datetime:
    """To a second, as Prometheus is asked."""
    return now.astimezone(UTC).replace(microsecond=0)
