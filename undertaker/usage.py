"""How busy GPUs were, from Prometheus: few queries, each for many GPUs and a stretch of time.

A look is a quarter of an hour, unless the policy says otherwise, counted back from now. Of work
time there is a look after the other; of a stretch without work there is one, which only tells
whether anything ran.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import httpx

from drc.errors import MetricsUnreachable
from undertaker.verdict import NONE, Look
from undertaker.worktime import Calendar

UTILISATION = "DCGM_FI_DEV_GPU_UTIL"
OF_SLICES = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
"""From 0 to 1; the other is not there for slices (DCGM)."""
AT_ONCE = 1000  # GPUs in one query: 40 kB of it are their names
MOST_POINTS = 10_000  # of one series in one answer; Prometheus gives 11,000
PATIENCE = 60.0  # seconds for an answer

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


class Prometheus:
    """Its HTTP API. Raises MetricsUnreachable.

    A GPU is called by its UUID here; a MIG slice by that of its card and its GPU instance there,
    as `GPU-…/3`, since its series bear the card's.
    """

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)
        self.queries = 0

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
        for start in range(first, last + 1, MOST_POINTS * seconds):
            end = min(last, start + (MOST_POINTS - 1) * seconds)
            answer = self._call(query=query, start=str(start), end=str(end), step=str(seconds))
            for one in answer:
                labels = one["metric"]
                gpu = "/".join(filter(None, (labels.get("UUID", ""), labels.get("GPU_I_ID", ""))))
                told.setdefault(gpu, {}).update(_numbers(one["values"]))

    def _call(self, **form: str) -> list[dict[str, Any]]:
        self.queries += 1
        try:
            answer = self.http.post("/api/v1/query_range", data=form)
        except httpx.HTTPError as failed:
            raise MetricsUnreachable(f"Prometheus does not answer: {failed}") from failed
        try:
            said = json.loads(answer.content)
            if said["status"] != "success":
                raise MetricsUnreachable(f"Prometheus refused: {str(said.get('error'))[:200]}")
            result: list[dict[str, Any]] = said["data"]["result"]
        except (ValueError, KeyError, TypeError) as failed:
            raise MetricsUnreachable(
                f"{self.http.base_url.host} answered {answer.status_code}, not as Prometheus does."
            ) from failed
        return result

    def close(self) -> None:
        self.http.close()


def in_parts(names: Sequence[str]) -> Iterator[str]:
    """As regular expressions of not too many names."""
    for at in range(0, len(names), AT_ONCE):
        yield "|".join(names[at : at + AT_ONCE])


def _numbers(values: Iterable[tuple[float, str]]) -> Iterator[tuple[int, float]]:
    for at, value in values:
        number = float(value)
        if math.isfinite(number):
            yield int(at), number


def floor(now: datetime) -> datetime:
    """To a second, as Prometheus is asked."""
    return now.astimezone(UTC).replace(microsecond=0)
