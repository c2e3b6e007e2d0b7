"""Whose word counts, and what is said of a file that cannot be meant."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drc.errors import Misconfigured
from undertaker.policy import FOR_EVER, Policies, Policy
from undertaker.worktime import parse

VESSEL: dict[str, Any] = {"owner": "ada", "called": "a@x.org", "name": "bert", "queues": ["big"]}
DEFAULTS = "[default]\nwarn_after = 1\nbury_after = 10\n"
QUEUE = "[queue.big]\nwarn_after = 2\n"
USER = "[user.ada]\nwarn_after = 3\n"
CALLED = '[user."a@x.org"]\nwarn_after = 3.5\n'
ITSELF = '[vessel."ada/bert"]\nwarn_after = 4\n'
OTHERS = "[queue.small]\nbury_after = 9\n[user.bob]\nbury_after = 9\n[vessel.bert]\nbury_after = 9"


def load(folder: Path, text: str) -> Policies:
    path = folder / "idle.toml"
    path.write_text(text)
    return Policies.load(path)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        (DEFAULTS, (1, 10)),
        (DEFAULTS + QUEUE, (2, 10)),
        (DEFAULTS + USER + QUEUE, (3, 10)),
        (DEFAULTS + CALLED + QUEUE, (3.5, 10)),
        (DEFAULTS + ITSELF + USER + QUEUE + OTHERS, (4, 10)),
        (DEFAULTS + QUEUE + "bury_after = 20\n" + ITSELF, (4, 20)),
    ],
)
def test_the_more_particular_counts(tmp_path: Path, text: str, hours: tuple[float, float]) -> None:
    found = load(tmp_path, text).of(**VESSEL)
    assert (found.warn_after, found.bury_after) == tuple(timedelta(hours=n) for n in hours)


def test_without_a_file_all_is_as_ever() -> None:
    assert Policies.load(None).of(**VESSEL) == Policy(parse("UTC", {"mon-fri": "9:00-18:00"}))


def test_equal_words_make_one_policy(tmp_path: Path) -> None:
    policies = load(tmp_path, DEFAULTS + QUEUE + "[user.bob]\nwarn_after = 2\n")
    ada, bob = policies.of(**VESSEL), policies.of(**{**VESSEL, "owner": "bob", "queues": []})
    assert ada is bob
    assert ada is not policies.of(**{**VESSEL, "queues": []})


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("2026-12-01", datetime(2026, 12, 1, 23, tzinfo=UTC)),  # to the end of that day in Berlin
        ("2026-12-01T00:00:00", datetime(2026, 11, 30, 23, tzinfo=UTC)),
        ("9999-12-31", FOR_EVER),
        ("9999-12-31T23:00:00", FOR_EVER),
        ("2026-12-01T09:30:00-05:00", datetime(2026, 12, 1, 14, 30, tzinfo=UTC)),
    ],
)
def test_it_is_exempt_until_a_day_or_instant(tmp_path: Path, until: str, expected: Any) -> None:
    policies = load(tmp_path, f'[default]\nzone = "Europe/Berlin"\nexempt_until = {until}')
    assert policies.of(**VESSEL).exempt_until == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[default", "Expected"),
        ("[vessels.bert]", "vessels: Extra inputs"),
        ("[queue]\nbig = 1", "queue.big"),
        ("[default]\nwarn_aftr = 1", r"\[default\] warn_aftr: Extra inputs"),
        ("[default]\nwarn_after = 0", r"\[default\] warn_after: .*greater than 0"),
        ("[user.ada]\nthreshold = 100", r"\[user.ada\] threshold: .*less than 100"),
        ("[user.ada]\nexempt_until = 'soon'", r"\[user.ada\] exempt_until"),
        ("[vessel.'ada/bert']\nmost_keeps = 1.5", r"\[vessel.ada/bert\] most_keeps"),
        ("[queue.big]\nhours = {mon = '9-18'}", r"\[queue.big\] “9-18” is no shift"),
        ("[queue.big]\nholidays = 'XX'", r"\[queue.big\] no public holidays are known of “XX”"),
    ],
)
def test_a_broken_file_names_the_table_and_the_field(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(Misconfigured, match=f"DRC_IDLE_POLICY, .*idle.toml: .*{why}"):
        load(tmp_path, text)
    with pytest.raises(Misconfigured, match=r"DRC_IDLE_POLICY, .*No such file"):
        Policies.load(tmp_path / "none")


def test_the_rest_of_the_words(tmp_path: Path) -> None:
    text = "step_seconds = 60\n[default]\nlast_call_minutes = 30\nlifetime_days = 3\n"
    found = load(tmp_path, text).of(**VESSEL)
    assert found.step == timedelta(minutes=1)
    assert found.last_call == timedelta(minutes=30)
    assert found.lifetime == timedelta(days=3)


def test_more_looks_than_prometheus_gives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="step_seconds is too small to look at 12 hours"):
        load(tmp_path, "step_seconds = 4\n")
    load(tmp_path, "step_seconds = 5\n")


def test_tables_that_are_too_much_together_are_refused_as_a_whole(tmp_path: Path) -> None:
    """Each alone would pass; a person's vessel in a queue is under both."""
    text = "step_seconds = 60\n[queue.batch]\nwarn_after = 100\n[user.ada]\nbury_after = 100\n"
    with pytest.raises(Misconfigured, match="step_seconds is too small to look at 200 hours"):
        load(tmp_path, text)
