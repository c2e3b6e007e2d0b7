"""How the doctor looks at a machine: programs that hang, tokens that are none, odd dates."""

import base64
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drc.cli import laptop
from drc.cli.finding import MISSING, TIMED_OUT
from drc.cli.laptop import Told


def test_a_program_says_something_and_ends() -> None:
    assert laptop.ask("sh", "-c", "echo out; echo err >&2; exit 3") == Told(3, "out\n", "err\n")
    assert laptop.ask("sh", "-c", r"printf '\377'").out == "\N{REPLACEMENT CHARACTER}"
    assert laptop.ask("/nowhere/ssh").status == MISSING


def test_a_program_that_hangs_is_ended_with_what_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A child that keeps the pipes open would keep us too."""
    monkeypatch.setattr(laptop, "PATIENCE", 0.2)
    begun = time.monotonic()
    assert laptop.ask("sh", "-c", "sleep 600 & sleep 600").status == TIMED_OUT
    assert time.monotonic() - begun < 5


def test_the_keys_that_ssh_would_use_are_those_whose_files_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "id_a").touch()
    (tmp_path / "my id").touch()
    said = f"user ada\nidentityfile ~/id_a\nidentityfile ~/none\nidentityfile {tmp_path}/my id\n"
    found = laptop.identities(Told(0, said + "identityfile ~/id_a\n"))
    assert found == [tmp_path / "id_a", tmp_path / "my id"]
    assert [laptop.short(path) for path in found] == ["~/id_a", "~/my id"]
    assert laptop.short(Path("/etc/x")) == "/etc/x"


def token(payload: object) -> str:
    text = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"e30.{text}.sig"


def test_a_token_says_who_it_is_for_or_nothing() -> None:
    assert laptop.claims_of(token({"sub": "ada"})) == {"sub": "ada"}
    assert laptop.claims_of(token({"sub": "a" * 50})) == {"sub": "a" * 50}
    for none in ("", "a", "a.b.c", "..", "a.é.c", token([1]), token("x"), "e30.AA=A.x"):
        assert laptop.claims_of(none) == {}


def test_a_date_header_is_an_instant_or_nothing() -> None:
    then = datetime(2026, 8, 1, 12, tzinfo=UTC)
    assert laptop.date_of("Sat, 01 Aug 2026 12:00:00 GMT") == then
    for none in ("", "yesterday", "Sat, 99 Aug 2026 12:00:00 GMT", "Sat, 01 Aug 2026 12:00:00"):
        assert laptop.date_of(none) is None
