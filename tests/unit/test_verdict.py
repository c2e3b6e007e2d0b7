"""The undertaker's verdict: one good baseline, and one fact changed at a time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drc.vessel import State
from undertaker.verdict import Facts, Verdict, judge

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OVERDUE: dict[str, Any] = {"state": State.RUNNING, "ends_at": NOW - timedelta(hours=1)}


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({}, Verdict.BURY, "its lifetime ended at 2026-03-01 11:00 UTC"),
        ({"state": State.RESERVED}, Verdict.BURY, "ended at"),
        ({"state": State.STARTING}, Verdict.BURY, "ended at"),
        ({"state": State.UNREACHABLE}, Verdict.BURY, "ended at"),
        ({"state": State.QUEUED}, Verdict.KEEP, "it is queued"),
        ({"state": State.STOPPING}, Verdict.KEEP, "it is stopping"),
        ({"state": State.BURIED}, Verdict.KEEP, "it is buried"),
        ({"state": State.FAILED}, Verdict.KEEP, "it is failed"),
        ({"ends_at": NOW}, Verdict.BURY, "ended at 2026-03-01 12:00 UTC"),
        ({"ends_at": NOW + timedelta(seconds=1)}, Verdict.KEEP, "ends at 2026-03-01 12:00 UTC"),
        ({"ends_at": NOW + timedelta(days=7)}, Verdict.KEEP, "ends at 2026-03-08 12:00 UTC"),
    ],
)
def test_a_verdict_and_its_reason(change: dict[str, Any], verdict: Verdict, reason: str) -> None:
    judged, said = judge(Facts(**{**OVERDUE, **change}), NOW)
    assert judged is verdict
    assert reason in said
