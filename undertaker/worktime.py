"""Work hours as people have them: by weekday, in a time zone, without holidays and days off.

A shift that passes midnight belongs to the day it begins on. Spans are made of instants, so on the
two days of a clock change they are as long as they really are; of a time that the clock shows twice
the first counts.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60  # minutes
ALWAYS = "24x7"
FARTHEST = timedelta(days=100)  # a calendar with less work than this to find has none

Shift = tuple[int, int]
"""From and until, in minutes after the midnight that its day begins with."""
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Calendar:
    zone: ZoneInfo
    week: tuple[tuple[Shift, ...], ...]
    """Shifts of each weekday, Monday first."""
    holidays: str = ""
    """Whose public ones: `DE`, or with a part of the country `DE-BY`."""
    off: frozenset[date] = frozenset()

    def is_off(self, day: date) -> bool:
        return day in self.off or (bool(self.holidays) and day in _public(self.holidays, day.year))

    def spans(self, begin: datetime, end: datetime) -> list[Span]:
        """The work time between two instants: in order, apart from each other, in UTC."""
        begin, end = (
            begin.astimezone(UTC),
            end.astimezone(UTC),
        )  # of one zone, Python subtracts clocks
        spans: list[Span] = []
        day = begin.astimezone(self.zone).date() - timedelta(days=1)
        last = end.astimezone(self.zone).date()
        while day <= last:
            for one, other in () if self.is_off(day) else self.week[day.weekday()]:
                span = max(self._at(day, one), begin), min(self._at(day, other), end)
                if span[0] < span[1]:
                    spans.append(span)
            day += timedelta(days=1)
        return list(_joined(sorted(spans)))

    def _at(self, day: date, minutes: int) -> datetime:
        days, rest = divmod(minutes, DAY)
        at = datetime.combine(day + timedelta(days=days), datetime.min.time(), self.zone)
        return at.replace(hour=rest // 60, minute=rest % 60).astimezone(UTC)

    def between(self, begin: datetime, end: datetime) -> timedelta:
        """How much work time there is between two instants."""
        return sum((until - since for since, until in self.spans(begin, end)), timedelta())

    def after(self, begin: datetime, much: timedelta) -> datetime:
        """The instant at which so much work time will have passed. Where there is so little work
        that it takes longer than FARTHEST, that far away.
        """
        begin = begin.astimezone(UTC)
        for since, until in self.spans(begin, begin + FARTHEST):
            if until - since >= much:
                return since + much
            much -= until - since
        return begin + FARTHEST

    def before(self, end: datetime, much: timedelta) -> datetime:
        """The instant since which so much work time has passed; likewise."""
        end = end.astimezone(UTC)
        for since, until in reversed(self.spans(end - FARTHEST, end)):
            if until - since >= much:
                return until - much
            much -= until - since
        return end - FARTHEST


def _joined(spans: list[Span]) -> Iterator[Span]:
    """Spans in order, without those that touch."""
    if not spans:
        return
    begin, end = spans[0]
    for since, until in spans[1:]:
        if since > end:
            yield begin, end
            begin, end = since, until
        end = max(end, until)
    yield begin, end


@cache
def _public(code: str, year: int) -> frozenset[date]:
    import holidays  # 30 ms, for those who name a country

    country, _, part = code.partition("-")
    return frozenset(holidays.country_holidays(country, subdiv=part or None, years=year))


def parse(
    zone: str,
    hours: Mapping[str, str] | str,
    holidays: str = "",
    off: frozenset[date] = frozenset(),
) -> Calendar:
    """`hours`: `24x7`, or shifts by days, as `{"mon-fri": "9:00-12:30, 13:30-18:00"}`.

    Raises ValueError with what is wrong.
    """
    try:
        where = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"“{zone}” is no time zone, as Europe/Berlin is") from None
    if holidays:
        try:
            _public(holidays, 2026)
        except NotImplementedError:
            raise ValueError(f"no public holidays are known of “{holidays}”") from None
    week: list[tuple[Shift, ...]] = [()] * 7
    if isinstance(hours, str):
        if hours != ALWAYS:
            raise ValueError(f"“{hours}” are no hours; {ALWAYS}, or by days")
        week = [((0, DAY),)] * 7
    else:
        for days, shifts in hours.items():
            for day in _days(days):
                week[day] = tuple(_shift(one) for one in shifts.split(",") if one.strip())
    if not any(week):
        raise ValueError("there is no hour of work in a week")
    for one in week:
        if any(until > since for (_, until), (since, _) in pairwise(sorted(one))):
            raise ValueError("shifts of one day overlap")
    return Calendar(where, tuple(week), holidays, off)


def _days(text: str) -> list[int]:
    """`mon`, or `mon-fri`, or `sat-mon`."""
    first, _, last = text.strip().lower().partition("-")
    if first not in DAYS or (last or first) not in DAYS:
        raise ValueError(f"“{text}” are no days; {', '.join(DAYS)}, or mon-fri")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return [(begin + n) % 7 for n in range((end - begin) % 7 + 1)]


def _shift(text: str) -> Shift:
    """`9:00-18:00`, or over midnight `22:00-6:00`."""
    found = re.fullmatch(r"\s*(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)\s*", text)
    numbers = [int(part) for part in found.groups()] if found else []
    if not numbers or numbers[1] > 59 or numbers[3] > 59:
        raise ValueError(f"“{text.strip()}” is no shift, as 9:00-18:00 is")
    begin, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if begin >= DAY or end > DAY or begin == end:
        raise ValueError(f"“{text.strip()}” is no shift, as 9:00-18:00 is")
    return begin, end if end > begin else end + DAY
