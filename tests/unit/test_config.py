"""What the programs are told by their environment and by files."""

from pathlib import Path

import pytest

from drc.config import (
    DEFAULT_IMAGE,
    DEFAULT_URL,
    Account,
    account_file,
    api_settings,
    count,
    load_account,
    save_account,
)
from drc.errors import Misconfigured

API = {"DRC_DATABASE_URL": "postgresql://x", "DRC_KEYS": "/keys", "DRC_SECRET": "/secret"}


def test_the_api_has_defaults_for_all_but_three() -> None:
    settings = api_settings(API)
    assert (settings.host, settings.port, settings.image) == ("127.0.0.1", 8787, DEFAULT_IMAGE)
    assert (settings.keys, settings.secret, settings.migrate_url) == (
        Path("/keys"),
        Path("/secret"),
        None,
    )


@pytest.mark.parametrize("missing", API)
def test_the_api_says_which_setting_is_missing(missing: str) -> None:
    with pytest.raises(Misconfigured, match=f"{missing} is not set"):
        api_settings({**API, missing: ""})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", ""])
def test_the_api_does_not_listen_beyond_loopback_without_tls(host: str) -> None:
    with pytest.raises(Misconfigured, match="without TLS"):
        api_settings({**API, "DRC_HOST": host})


@pytest.mark.parametrize("value", ["", "x", "-1", "8 787", "²"])
def test_a_count_that_is_no_number_is_refused_by_name(value: str) -> None:
    with pytest.raises(Misconfigured, match="DRC_PORT"):
        count({"DRC_PORT": value}, "DRC_PORT", 1)
    assert count({}, "DRC_PORT", 1) == 1


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_without_anything_the_api_is_here_and_nobody_is_signed_in(home: dict[str, str]) -> None:
    assert load_account(home) == Account(DEFAULT_URL, None)


def test_an_account_is_written_for_its_owner_only_and_read_back(home: dict[str, str]) -> None:
    save_account(Account("http://api", "one"), home)
    save_account(Account("http://api", "two"), home)
    assert load_account(home) == Account("http://api", "two")
    assert account_file(home).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in account_file(home).parent.iterdir()] == ["account.json"]


def test_the_environment_wins_over_the_file(home: dict[str, str]) -> None:
    save_account(Account("http://saved", "saved"), home)
    told = {**home, "DRC_URL": "http://told/", "DRC_TOKEN": "told"}
    assert load_account(told) == Account("http://told", "told")


@pytest.mark.parametrize("text", ["{", "3", '"x"', "\N{SNOWMAN}"])
def test_a_damaged_account_is_a_sentence(home: dict[str, str], text: str) -> None:
    save_account(Account("http://saved", "saved"), home)
    account_file(home).write_text(text)
    with pytest.raises(Misconfigured, match="cannot be read") as refused:
        load_account(home)
    assert "drc up" in refused.value.hint


def test_an_account_does_not_show_its_token() -> None:
    assert "secret" not in repr(Account("http://api", "secret"))
