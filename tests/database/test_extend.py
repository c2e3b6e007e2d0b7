"""The statement that moves an end: whose, in which state, and how far."""

from datetime import datetime, timedelta

import pytest

from drc import fleet
from drc.db import Database
from drc.vessel import AGEING, DEFAULT_LIFETIME, LONGEST_LIFETIME, State
from tests.database.test_life import Subject, make
from tests.fleets import add_owner

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def extend(
    subject: Subject, *, by: timedelta | None = None, until: datetime | None = None
) -> datetime | None:
    owner = subject.wish.owner_id
    return fleet.extend_vessel(subject.db, subject.id, owner, by=by, until=until)


def end_of(subject: Subject) -> datetime:
    return fleet.read_vessels(subject.db, id=subject.id, ended=True)[0]["ends_at"]


@pytest.mark.parametrize("state", State)
def test_an_end_moves_while_a_life_goes_on(db: Database, state: State) -> None:
    subject = make(db, "bert", state)
    before = end_of(subject)
    if state in AGEING:
        assert extend(subject, by=DAY) == end_of(subject) == before + DAY
    else:
        assert extend(subject, by=DAY) is None
        assert end_of(subject) == before


def test_two_spans_count_both(db: Database) -> None:
    subject = make(db, "bert", State.RUNNING)
    before = end_of(subject)
    extend(subject, by=DAY)
    assert extend(subject, by=DAY) == before + 2 * DAY


def test_another_owner_moves_nothing(db: Database) -> None:
    subject = make(db, "bert", State.RUNNING)
    before = end_of(subject)
    assert fleet.extend_vessel(db, subject.id, add_owner(db, "bob"), by=DAY, until=None) is None
    assert end_of(subject) == before


def test_an_end_is_neither_past_nor_too_far(db: Database) -> None:
    subject = make(db, "bert", State.RUNNING)
    now = fleet.read_now(db)
    assert extend(subject, until=now - MINUTE) is None
    assert extend(subject, until=now + LONGEST_LIFETIME + MINUTE) is None
    assert extend(subject, by=timedelta(weeks=999_999)) is None
    latest = now + LONGEST_LIFETIME - MINUTE
    assert extend(subject, until=latest) == latest
    assert extend(subject, by=2 * MINUTE) is None
    assert extend(subject, until=now + MINUTE) == now + MINUTE  # sooner, when somebody says so


def test_without_a_word_it_is_a_while_from_now_and_never_sooner(db: Database) -> None:
    subject = make(db, "bert", State.RUNNING)
    extend(subject, until=fleet.read_now(db) + DAY)
    begun = fleet.read_now(db)
    end = extend(subject)
    assert end is not None
    assert begun + DEFAULT_LIFETIME <= end <= fleet.read_now(db) + DEFAULT_LIFETIME
    later = extend(subject, by=10 * DAY)
    assert extend(subject) == later
