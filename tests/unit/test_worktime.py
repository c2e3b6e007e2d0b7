"""Work hours on the days on which clocks, weekends and holidays make them hard to count."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertaker.worktime import ALWAYS, DAYS, Calendar, parse

OFFICE = {"mon-fri": "9:00-18:00"}
NIGHTS = {"mon-sun": "22:00-6:00"}
DAY, WEEK, HOUR = timedelta(days=1), timedelta(days=7), timedelta(hours=1)


def at(text: str, zone: str = "UTC") -> datetime:
    """An instant, as a clock in that zone shows it."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "day", "whole", "night"),
    [
        ("Europe/Berlin", "2026-03-29", 23, 7),
        ("Europe/Berlin", "2026-10-25", 25, 9),
        ("America/New_York", "2026-03-08", 23, 7),
        ("America/New_York", "2026-11-01", 25, 9),
    ],
)
def test_a_day_is_as_long_as_it_really_is(zone: str, day: str, whole: int, night: int) -> None:
    before, after = (str(date.fromisoformat(day) + n * DAY) for n in (-1, 1))
    begin, end = at(day, zone), at(after, zone)
    assert parse(zone, ALWAYS).between(begin, end) == whole * HOUR
    assert parse(zone, {"mon-sun": "9:00-18:00"}).between(begin, end) == 9 * HOUR
    noons = at(f"{before} 12:00", zone), at(f"{day} 12:00", zone)
    assert parse(zone, NIGHTS).between(*noons) == night * HOUR


def test_of_a_time_that_the_clock_shows_twice_the_first_counts() -> None:
    spans = parse("Europe/Berlin", {"sun": "2:30-3:00"}).spans(at("2026-10-25"), at("2026-10-26"))
    assert spans == [(at("2026-10-25 00:30"), at("2026-10-25 02:00"))]


@pytest.mark.parametrize(
    ("evening", "morning", "monday"),
    [
        ("2026-03-06 22:00", "2026-03-07 06:00", "2026-03-09 12:00"),  # into a Saturday
        ("2026-04-30 22:00", "2026-05-01 06:00", "2026-05-04 12:00"),  # a holiday; none from it
    ],
)
def test_a_shift_belongs_to_the_day_it_begins_on(evening: str, morning: str, monday: str) -> None:
    nights = parse("UTC", {"mon-fri": "22:00-6:00"}, "DE")
    begin = at(evening) - 10 * HOUR
    assert nights.spans(begin, at(monday)) == [(at(evening), at(morning))]


@pytest.mark.parametrize(
    ("holidays", "day", "is_off"),
    [
        ("DE-BY", "2026-01-06", True),
        ("DE", "2026-01-06", False),
        ("DE", "2027-01-01", True),
        ("", "2026-07-14", True),
        ("DE-BY", "2026-07-15", False),
    ],
)
def test_holidays_are_those_of_a_country_or_its_part(holidays: str, day: str, is_off: bool) -> None:
    off, begin = frozenset({date(2026, 7, 14)}), at(day, "Europe/Berlin")
    calendar = parse("Europe/Berlin", OFFICE, holidays, off)
    assert calendar.is_off(date.fromisoformat(day)) is is_off
    assert calendar.between(begin, begin + DAY) == (0 if is_off else 9) * HOUR


def test_six_hours_after_friday_afternoon_it_is_monday_noon() -> None:
    office, friday, monday = parse("UTC", OFFICE), at("2026-03-06 15:00"), at("2026-03-09 12:00")
    assert office.after(friday, 6 * HOUR) == monday
    assert office.before(monday, 6 * HOUR) == friday
    assert office.after(friday, 1000 * HOUR) == friday + 100 * DAY  # no farther


PLAIN = [parse("UTC", hours) for hours in (ALWAYS, OFFICE, {"fri-mon": "22:00-6:00, 12:00-12:30"})]
CALENDARS = [
    *PLAIN,
    parse("Europe/Berlin", NIGHTS, "DE-BY"),
    parse("America/New_York", ALWAYS, off=frozenset({date(2026, 3, 9)})),
    parse("Australia/Lord_Howe", {"sun": "1:45-18:00", "sat": "23:00-3:00"}),  # half an hour
]
instants = st.datetimes(datetime(2025, 12, 1), datetime(2026, 12, 1), timezones=st.just(UTC))
months = st.timedeltas(timedelta(0), 30 * DAY)
few = settings(max_examples=40, deadline=None, derandomize=True)


@few
@given(st.sampled_from(CALENDARS), instants, st.timedeltas(timedelta.resolution, 100 * HOUR))
def test_after_before_between_agree(calendar: Calendar, begin: datetime, much: timedelta) -> None:
    end = calendar.after(begin, much)
    assert calendar.between(begin, end) == much
    assert calendar.before(end, much) == calendar.after(begin, timedelta())
    assert calendar.between(calendar.before(begin, much), begin) == much


@few
@given(st.sampled_from(CALENDARS), instants, months)
def test_spans_are_apart_and_inside(calendar: Calendar, begin: datetime, long: timedelta) -> None:
    spans = calendar.spans(begin, begin + long)
    assert all(begin <= since < until <= begin + long for since, until in spans)
    assert all(until < since for (_, until), (since, _) in pairwise(spans))


@few
@given(st.sampled_from(PLAIN), instants, months)
def test_one_week_is_like_another(calendar: Calendar, begin: datetime, long: timedelta) -> None:
    later = calendar.spans(begin + WEEK, begin + WEEK + long)
    assert later == [(a + WEEK, b + WEEK) for a, b in calendar.spans(begin, begin + long)]


def test_days_may_go_over_sunday_and_the_last_word_counts() -> None:
    week = parse("UTC", {"Sat-mon": " 9:00 - 12:00 ,13:00-0:00", "sun": ""}).week
    assert [day for day, shifts in zip(DAYS, week, strict=True) if shifts] == ["mon", "sat"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("Europe/Minga", OFFICE), "“Europe/Minga” is no time zone, as Europe/Berlin is"),
        (("UTC", "9-18"), "“9-18” are no hours; 24x7, or by days"),
        (("UTC", {"mon": "9-18"}), "“9-18” is no shift, as 9:00-18:00 is"),
        (("UTC", {"mon": "25:00-26:00"}), "“25:00-26:00” is no shift"),
        (("UTC", {"mon": "9:00-9:00"}), "“9:00-9:00” is no shift"),
        (("UTC", {"mon": "22:00-6:00, 21:00-23:00"}), "shifts of one day overlap"),
        (("UTC", {"monday": "9:00-18:00"}), "“monday” are no days; mon, tue"),
        (("UTC", OFFICE, "XX"), "no public holidays are known of “XX”"),
        (("UTC", OFFICE, "DE-XX"), "no public holidays are known of “DE-XX”"),
        (("UTC", {}), "there is no hour of work in a week"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(words: tuple[Any, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(*words)


def test_instants_of_the_calendars_own_zone_are_instants() -> None:
    """Two of one zone Python subtracts as clocks."""
    berlin = parse("Europe/Berlin", "24x7")
    begin, end = (datetime(2026, 3, 29, hour, tzinfo=berlin.zone) for hour in (1, 5))
    assert berlin.between(begin, end) == timedelta(hours=3)
    assert berlin.after(begin, timedelta(hours=4)) == datetime(2026, 3, 29, 4, tzinfo=UTC)
