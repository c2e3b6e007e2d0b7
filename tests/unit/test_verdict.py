"""The undertaker's verdict: one good baseline, and one thing changed at a time."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drc.vessel import State
from undertaker.policy import Policy
from undertaker.usage import looks, stretches
from undertaker.verdict import Facts, Judgement, Look, Rung, Verdict, judge
from undertaker.worktime import DAYS, parse

HOUR, MINUTE, WEEK = timedelta(hours=1), timedelta(minutes=1), timedelta(days=7)
KEEP, STAY, WARN, CALL, BURY = Verdict
POLICY = Policy(parse("UTC", {"mon-fri": "9:00-18:00"}))
Busy = Callable[[datetime], float | None]
"""What a GPU did in the look that begins then."""


def at(text: str) -> datetime:
    """`mon 9:00`, in a week that begins with the second of March; `next mon 9:00`."""
    *later, day, clock = text.split()
    hour, minute = clock.split(":")
    this = datetime(2026, 3, 2 + DAYS.index(day), int(hour), int(minute), tzinfo=UTC)
    return this + len(later) * WEEK


def seen(since: str, until: str, *gpus: Busy) -> list[Look]:
    asked = stretches(POLICY.calendar, at(since), at(until), POLICY.step, off=True)
    found = looks(asked, (), {stretch: {} for stretch in asked}, POLICY.calendar)
    return [replace(look, busy=tuple(gpu(look.begin) for gpu in gpus or [idle])) for look in found]


def idle(_: datetime) -> float:
    return 0.0


def during(begin: str, end: str, busy: float | None = 50.0) -> Busy:
    """Idle before and after."""
    return lambda this: busy if at(begin) <= this < at(end) else 0.0


NOW = at("mon 15:00")
IDLE = seen("mon 9:00", "mon 15:00")  # six hours
GOOD = Facts(State.RUNNING, ends_at=NOW + WEEK, started_at=NOW - WEEK, gpus=1)
WARNED = replace(GOOD, rung=Rung.WARNED, warned_at=NOW, told_at=NOW + MINUTE)
CALLED = replace(WARNED, rung=Rung.CALLED, called_at=at("tue 11:00"))


def said(looks: Sequence[Look], facts: Facts = GOOD, **policy: Any) -> Judgement:
    return judge(facts, looks, replace(POLICY, **policy), looks[-1].end)


def test_six_idle_hours_are_warned_of() -> None:
    found = said(IDLE)
    assert (found.verdict, found.idle_since, found.idle) == (WARN, at("mon 9:00"), 6 * HOUR)
    assert (found.looks, found.averages, found.remaining) == (24, (0.0,), 6 * HOUR)
    assert found.reason == "it is idle since Mon 2026-03-02 09:00 UTC or longer: 6 h of work time"
    assert said(IDLE[1:]).verdict is KEEP


@pytest.mark.parametrize("state", State)
def test_only_what_runs_is_idle_and_what_ages_ends(state: State) -> None:
    expected = {State.RUNNING: WARN, State.UNREACHABLE: STAY}.get(state, KEEP)
    ages = state in {State.RESERVED, State.STARTING, State.RUNNING, State.UNREACHABLE}
    assert said(IDLE, replace(GOOD, state=state)).verdict is expected
    ended = said(IDLE, replace(GOOD, state=state, ends_at=NOW))
    assert ended.verdict is (BURY if ages else KEEP)


@pytest.mark.parametrize(
    ("facts", "policy", "verdict", "reason"),
    [
        (
            {},
            {"lifetime": WEEK, "exempt": True},
            BURY,
            "the policy lets it live for 7 days at most",
        ),
        ({}, {"lifetime": WEEK + MINUTE, "exempt": True}, KEEP, "the policy exempts it"),
        ({"ends_at": NOW}, {"exempt": True}, BURY, "its lifetime ended at Mon 2026-03-02 15:00"),
        ({}, {"exempt": True}, KEEP, "the policy exempts it"),
        ({}, {"exempt_until": NOW + MINUTE}, KEEP, "exempts it until Mon 2026-03-02 15:01 UTC"),
        ({}, {"exempt_until": NOW}, KEEP, "not idle yet: 0 min of work time of 6 h"),
        ({"kept_until": NOW + MINUTE}, {}, KEEP, "it is kept until Mon 2026-03-02 15:01 UTC"),
        ({"kept_until": NOW - 2 * HOUR}, {}, KEEP, "2 h of work time of 6 h"),
        ({"started_at": NOW - 5 * HOUR}, {}, KEEP, "5 h of work time of 6 h"),
        ({"gpus": 0}, {}, KEEP, "it has no GPU, so only its lifetime counts"),
        ({"is_seen": False}, {}, KEEP, "nobody measures GPUs here"),
    ],
)
def test_what_the_books_say(facts: Any, policy: Any, verdict: Verdict, reason: str) -> None:
    found = said(IDLE, replace(GOOD, **facts), **policy)
    assert found.verdict is verdict
    assert reason in found.reason


@pytest.mark.parametrize(
    ("begin", "end", "busy", "verdict", "known"),
    [
        ("mon 9:00", "mon 9:15", 0.01, KEEP, 345),
        ("mon 14:45", "mon 15:00", 50.0, KEEP, 0),
        ("mon 12:00", "mon 12:15", None, WARN, 360),  # a gap that nobody minds
        ("mon 12:00", "mon 12:30", None, KEEP, 330),  # one in which the clock stands still
        ("mon 14:30", "mon 15:00", None, STAY, 330),
        ("mon 9:00", "mon 15:00", None, STAY, 0),
    ],
)
def test_what_its_gpu_did(begin: str, end: str, busy: Any, verdict: Verdict, known: int) -> None:
    found = said(seen("mon 9:00", "mon 15:00", during(begin, end, busy)))
    assert (found.verdict, found.idle) == (verdict, known * MINUTE)


def test_a_gap_stops_the_clock_and_does_not_reset_it() -> None:
    found = said(seen("mon 8:00", "mon 15:30", during("mon 12:00", "mon 12:30", None)))
    assert (found.verdict, found.idle) == (WARN, 6 * HOUR)
    assert "(and 30 min of which nobody knows)" in found.reason


@pytest.mark.parametrize("others", [0.0, None])
def test_one_busy_gpu_of_eight_keeps_it(others: float | None) -> None:
    node, gpus = replace(GOOD, gpus=8), [during("mon 12:00", "mon 12:15", others)] * 7
    one = during("mon 12:00", "mon 12:15", 9.0)
    found = said(seen("mon 9:00", "mon 15:00", *gpus, one), node)
    assert (found.verdict, found.is_busy) == (KEEP, True)
    assert said(seen("mon 9:00", "mon 15:00", *gpus, idle), node).verdict is WARN


@pytest.mark.parametrize(("busy", "verdict"), [(5.0, WARN), (5.1, KEEP)])
def test_up_to_the_threshold_it_is_idle(busy: float, verdict: Verdict) -> None:
    hardly = seen("mon 9:00", "mon 15:00", lambda _: busy)
    assert said(hardly, threshold=5).verdict is verdict
    assert said(hardly).verdict is KEEP


def test_idle_since_friday_afternoon_is_monday_noon() -> None:
    for now, known in (("fri 18:00", 3), ("sun 12:00", 3), ("next mon 11:45", 5.75)):
        found = said(seen("fri 9:00", now, during("fri 9:00", "fri 15:00")))
        assert (found.verdict, found.idle) == (KEEP, known * HOUR)
    assert said(seen("fri 9:00", "next mon 12:00", during("fri 9:00", "fri 15:00"))).verdict is WARN


@pytest.mark.parametrize(("busy", "verdict", "hours"), [(0.0, WARN, 7), (3.0, KEEP, 1)])
def test_activity_at_night_counts(busy: float, verdict: Verdict, hours: int) -> None:
    night = seen("mon 12:00", "tue 10:00", during("mon 18:00", "tue 9:00", busy))
    assert [look.end - look.begin for look in night if not look.work] == [15 * HOUR]
    assert (said(night).verdict, said(night).idle) == (verdict, hours * HOUR)


@pytest.mark.parametrize(
    ("facts", "changes", "now", "verdict"),
    [
        (WARNED, {}, "tue 10:45", STAY),
        (WARNED, {}, "tue 11:00", CALL),  # an hour remains
        (WARNED, {"told_at": None}, "tue 17:00", STAY),
        (CALLED, {}, "tue 12:00", BURY),
        (CALLED, {"told_at": None}, "tue 12:00", STAY),
        (CALLED, {"called_at": at("tue 11:05")}, "tue 12:00", BURY),
        (CALLED, {"called_at": at("tue 11:06")}, "tue 12:00", STAY),
        (CALLED, {"called_at": at("tue 10:00")}, "tue 11:45", STAY),  # something remains
        (CALLED, {"kept_until": at("tue 12:01")}, "tue 12:00", KEEP),
    ],
)
def test_nobody_is_buried_untold(facts: Facts, changes: Any, now: str, verdict: Verdict) -> None:
    for gpu in (idle, during("mon 9:00", "mon 15:00")):  # what was before the warning is past
        assert said(seen("mon 9:00", now, gpu), replace(facts, **changes)).verdict is verdict


@pytest.mark.parametrize("facts", [WARNED, CALLED])
def test_who_was_busy_after_the_warning_begins_anew(facts: Facts) -> None:
    for now, verdict in (("tue 13:00", KEEP), ("tue 13:15", WARN)):  # six hours after 16:15
        found = said(seen("mon 9:00", now, during("mon 16:00", "mon 16:15")), facts)
        assert found.verdict is verdict


@pytest.mark.parametrize("facts", [GOOD, WARNED, CALLED])
def test_without_samples_nobody_moves(facts: Facts) -> None:
    for blind, moves in (("tue 16:45", True), ("tue 16:30", False)):
        found = said(seen("mon 9:00", "tue 17:00", during(blind, "tue 17:00", None)), facts)
        assert (found.verdict is not STAY) is moves
    assert found.reason == "there are no samples of it since Tue 2026-03-03 16:30 UTC"


Marks = dict[int, float | None]
TWO_DAYS = seen("mon 9:00", "tue 15:00")
indices = st.integers(0, len(TWO_DAYS) - 1)
marks = st.dictionaries(indices, st.sampled_from([3.0, 50.0]), max_size=4)
times = st.sampled_from([at("mon 15:00"), at("mon 17:00"), at("tue 10:00"), at("tue 14:00")])
facts = st.builds(
    replace, st.just(CALLED), rung=st.sampled_from(Rung), warned_at=times,
    told_at=st.none() | times, called_at=st.none() | times,
)  # fmt: skip
undated = re.compile(r"\d{4}-\d\d-\d\d").sub
many = settings(max_examples=100, deadline=None, derandomize=True)


def marked(*changes: Marks) -> list[Look]:
    busy = {index: busy for change in changes for index, busy in change.items()}
    return [replace(look, busy=(busy.get(n, 0.0),)) for n, look in enumerate(TWO_DAYS)]


@many
@given(facts, st.sampled_from([0.0, 5.0]), marks, marks)
def test_activity_never_harms(facts: Facts, threshold: float, some: Marks, more: Marks) -> None:
    before = said(marked(some), facts, threshold=threshold).verdict
    after = said(marked(more, some), facts, threshold=threshold).verdict
    worst = WARN if before is STAY else before  # who stays was warned; anew, that is a step back
    assert list(Verdict).index(after) <= list(Verdict).index(worst)


@many
@given(facts, marks, st.dictionaries(indices, st.none(), max_size=6))
def test_one_week_is_like_another(facts: Facts, some: Marks, gaps: Marks) -> None:
    these = marked(some, gaps)
    those = [replace(look, begin=look.begin + WEEK, end=look.end + WEEK) for look in these]
    names = [name for name in Facts.__slots__ if name.endswith("_at") and getattr(facts, name)]
    later = replace(facts, **{name: getattr(facts, name) + WEEK for name in names})
    one, other = said(these, facts), said(those, later)
    assert one == said(these, facts)
    assert undated("", one.reason) == undated("", other.reason)
    since = one.idle_since and one.idle_since + WEEK
    assert replace(one, idle_since=since, reason=other.reason) == other


def test_a_weekend_does_not_outweigh_a_busy_friday() -> None:
    """Whatever the threshold: an average is one of a quarter of an hour."""
    looks = seen("fri 9:00", "next mon 9:15", during("fri 9:00", "fri 18:00"))
    found = said(looks, replace(GOOD, started_at=at("mon 9:00")), threshold=5)
    assert (found.verdict, found.idle) == (KEEP, 15 * MINUTE)


def test_a_burst_starts_the_clock_anew() -> None:
    looks = seen("mon 9:00", "tue 11:00", during("tue 10:00", "tue 10:15", 20.0))
    found = said(looks, threshold=5)
    assert (found.verdict, found.idle) == (KEEP, 45 * MINUTE)


def test_a_threshold_that_no_float_is_exactly() -> None:
    looks = seen("mon 9:00", "mon 15:00", during("mon 9:00", "mon 15:00", 0.7))
    assert said(looks, threshold=0.7).verdict == WARN


def test_a_short_break_makes_no_look_twice() -> None:
    calendar = parse("UTC", {"mon": "9:00-12:00, 12:10-18:00"})
    asked = stretches(calendar, at("mon 8:00"), at("mon 15:13"), POLICY.step, off=True)
    for one, other in pairwise(asked):
        assert one.end <= other.begin


@pytest.mark.parametrize(("minutes", "step"), [(5, 900), (20, 3600), (60, 3600)])
def test_a_last_call_is_never_a_burial_at_once(minutes: int, step: int) -> None:
    """However short it is, and however long looks are."""
    now = CALLED.called_at
    assert now
    looks = [Look(now - HOUR * n, now - HOUR * (n - 1), HOUR, (0.0,)) for n in range(12, 0, -1)]
    facts = replace(CALLED, told_at=now - 12 * HOUR)
    policy = replace(POLICY, last_call=minutes * MINUTE, step=timedelta(seconds=step))
    assert judge(facts, looks, policy, now).verdict is STAY
