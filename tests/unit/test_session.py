"""Staying signed in, where several programs and somebody's wish to sign out meet."""

import time
from pathlib import Path

import pytest

from drc.cli.session import Session
from drc.config import Account, account_file, load_account, save_account
from drc.errors import ApiUnreachable, NotSignedIn

NOWHERE = "http://127.0.0.1:1"
LONG_AGO, LONG_HENCE = 1.0, 4e9


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("DRC_URL", "DRC_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_one_that_goes_on_does_not_sign_in_again_who_signed_out_meanwhile() -> None:
    save_account(Account(NOWHERE, "old", LONG_AGO, "refresh"))
    session = Session(load_account())
    account_file().unlink()
    with pytest.raises(NotSignedIn, match="signed out meanwhile"):
        session.token()
    assert not account_file().exists()


def test_nor_back_to_the_api_that_they_left() -> None:
    save_account(Account(NOWHERE, "old", LONG_AGO, "refresh"))
    session = Session(load_account())
    save_account(Account("http://127.0.0.1:2", "new", LONG_HENCE, "refresh"))
    with pytest.raises(NotSignedIn, match="in elsewhere"):
        session.token()
    assert load_account().url == "http://127.0.0.1:2"


def test_what_another_program_renewed_is_taken_over() -> None:
    save_account(Account(NOWHERE, "old", LONG_AGO, "refresh"))
    session = Session(load_account())
    save_account(Account(NOWHERE, "new", LONG_HENCE, "next"))
    assert session.token() == "new"


def test_a_token_that_is_good_yet_needs_no_api() -> None:
    save_account(Account(NOWHERE, "good", time.time() + 30, "refresh"))
    assert Session(load_account()).token() == "good"
    save_account(Account(NOWHERE, "over", time.time() - 1, "refresh"))
    with pytest.raises(ApiUnreachable):
        Session(load_account()).token()


def test_one_from_the_environment_is_never_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    save_account(Account(NOWHERE, "old", LONG_AGO, "refresh"))
    monkeypatch.setenv("DRC_TOKEN", "told")
    session = Session(load_account())
    assert session.token() == "told"
    assert session.renew() is False
