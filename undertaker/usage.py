"""How busy GPUs were, from Prometheus: few queries, each for many GPUs and a stretch of time.

A look is a quarter of an hour, counted back from now. Of work time there is a look after the other;
of a stretch without work there is one, which only tells whether anything ran.
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

STEP = timedelta(minutes=15)
UTILISATION = "DCGM_FI_DEV_GPU_UTIL"
AT_ONCE = 1000  # GPUs in one query: 40 kB of it are their names
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


def stretches(calendar: Calendar, since: datetime, now: datetime, *, off: bool) -> list[Stretch]:
    """What is asked for to see the time between two instants. `off`: also the time without work."""
    found: list[Stretch] = []
    last = since
    for begin, end in calendar.spans(since, now):
        # looks are counted back from now, so the first and last of a span may reach beyond it
        first = now - math.floor((now - begin) / STEP) * STEP
        if first <= begin or (found and first - STEP < last):  # what was seen is not seen twice
            first += STEP
        final = now - math.floor((now - end) / STEP) * STEP
        if off and first - STEP > last:
            found.append(Stretch(last, first - STEP, first - STEP - last, is_work=False))
        found.append(Stretch(first - STEP, final, STEP, is_work=True))
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
    """Its HTTP API. Raises MetricsUnreachable."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)
        self.queries = 0

    def ask(self, stretch: Stretch, gpus: Sequence[str]) -> dict[str, dict[int, float]]:
        """How busy each GPU was in the looks of a stretch; one that nobody saw is left out."""
        seconds = int(stretch.each.total_seconds())
        told: dict[str, dict[int, float]] = {}
        names = sorted(gpus)
        for some in (names[at : at + AT_ONCE] for at in range(0, len(names), AT_ONCE)):
            # duplicates: two Prometheis that scrape the same, a job mapping of several jobs
            kind = "avg" if stretch.is_work else "max"
            query = (
                f'max by (UUID) ({kind}_over_time({UTILISATION}{{UUID=~"{"|".join(some)}",'
                f'GPU_I_ID=""}}[{seconds}s]))'
            )
            start = stretch.begin + stretch.each
            answer = self._call(
                query=query, start=str(int(start.timestamp())),
                end=str(int(stretch.end.timestamp())), step=str(seconds),
            )  # fmt: skip
            for series in answer:
                points = told.setdefault(str(series["metric"].get("UUID", "")), {})
                points.update(_numbers(series["values"]))
        return told

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


def _numbers(values: Iterable[tuple[float, str]]) -> Iterator[tuple[int, float]]:
    for at, value in values:
        number = float(value)
        if math.isfinite(number):
            yield int(at), number


def floor(now: datetime) -> datetime:
    """To a second, as Prometheus is asked."""
    return now.astimezone(UTC).replace(microsecond=0)
