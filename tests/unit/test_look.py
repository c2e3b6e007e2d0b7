"""How things look in a terminal."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drc.cli import look


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=0), "0 s"),
        (timedelta(seconds=40), "40 s"),
        (timedelta(seconds=59.4), "59 s"),
        (timedelta(seconds=59.6), "1 min"),
        (timedelta(minutes=12, seconds=30), "12 min"),
        (timedelta(hours=1), "1h"),
        (timedelta(hours=1, minutes=5), "1h 5min"),
        (timedelta(hours=24), "1d"),
        (timedelta(days=3, hours=4), "3d 4h"),
        (timedelta(days=7) - timedelta(seconds=3), "7d"),
        (timedelta(days=6, hours=23, minutes=50), "7d"),
    ],
)
def test_a_span_has_its_two_largest_parts(span: timedelta, shown: str) -> None:
    assert look.show_span(span) == shown


def test_ages_and_ends_are_spans_from_now() -> None:
    now = datetime.now(UTC)
    assert look.ago((now - timedelta(hours=3, minutes=2)).isoformat()) == "3h 2min"
    assert look.until((now + timedelta(days=2, minutes=5)).isoformat()) == "2d"


def test_an_instant_is_shown_on_the_readers_clock_with_its_year_if_it_is_another() -> None:
    then = datetime.now().astimezone().replace(month=3, day=4, hour=18, minute=5)
    assert look.when(then.astimezone(UTC).isoformat()) == f"{then:%a} 4 Mar 18:05"
    before = then.replace(year=then.year - 1)
    assert look.when(before.isoformat()) == f"{before:%a} 4 Mar {before.year} 18:05"
    soon = datetime.now(UTC) + timedelta(days=2, minutes=5)
    assert look.ahead(soon.isoformat()) == f"2d, on {look.when(soon.isoformat())}"


def gpu(model: str = "a100", memory_mib: int = 81920, simulated: bool = False) -> dict[str, Any]:
    return {"model": model, "memory_mib": memory_mib, "simulated": simulated}


@pytest.mark.parametrize(
    ("gpus", "asked", "models", "shown"),
    [
        ([], 0, None, "none"),
        ([], 2, None, "2 × any"),
        ([], 2, ["a100", "h100"], "2 × a100 or h100"),
        ([gpu()], 1, None, "1 × a100 80 GB"),
        ([gpu(), gpu()], 2, ["a100"], "2 × a100 80 GB"),
        ([gpu(), gpu("rtx3090", 24576)], 2, None, "1 × a100 80 GB, 1 × rtx3090 24 GB"),
        ([gpu(simulated=True)], 1, None, "1 × a100 80 GB simulated"),
    ],
)
def test_gpus_are_counted_by_their_kind(
    gpus: list[dict[str, Any]], asked: int, models: list[str] | None, shown: str
) -> None:
    assert look.show_gpus(gpus, asked, models) == shown


@pytest.mark.parametrize(
    ("cpus", "memory_mib", "shown"),
    [(16.0, 65536, "16 CPUs · 64 GiB"), (1.0, 512, "1 CPU · 512 MiB"), (0.5, 1024, "0.5 CPUs"),
     (None, None, "")],
)  # fmt: skip
def test_a_share_is_cpus_and_memory(cpus: float | None, memory_mib: int, shown: str) -> None:
    said = look.shares({"cpus": cpus, "memory_mib": memory_mib})
    assert said.startswith(shown)
    assert bool(said) is bool(shown)


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    look.table(["NAME", "STATE"], [["bert", "running"], ["calm-otter", "queued"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME        STATE", "bert        running", "calm-otter  queued"]


def test_an_empty_table_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    look.table(["NAME", "STATE"], [])
    assert capsys.readouterr().out == "NAME  STATE\n"


def test_a_last_column_that_is_too_long_for_the_terminal_goes_on_below_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["gpu7", "its dcgm-exporter does not answer"]]
    look.table(["WHERE", "WHY"], rows)
    assert capsys.readouterr().out.splitlines()[1:] == ["gpu7   its dcgm-exporter does not answer"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "32")
    look.table(["WHERE", "WHY"], rows)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "gpu7   its dcgm-exporter does",
        "       not answer",
    ]


def test_nothing_is_coloured_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert look.colour("running") == "running"


def test_a_state_is_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert re.fullmatch(r"\x1b\[\d+mrunning\x1b\[0m", look.colour("running"))
    assert look.colour("calm-otter") == "calm-otter" or "\x1b[3" not in look.colour("calm-otter")


def test_talk_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    look.say("hello")
    assert capsys.readouterr() == ("", "hello\n")
