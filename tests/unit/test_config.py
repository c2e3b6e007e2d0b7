"""What the programs are told by their environment and by files."""

import socket
from pathlib import Path

import pytest

from drc.config import (
    DEFAULT_IMAGE,
    DEFAULT_URL,
    Account,
    LoginSettings,
    account_file,
    address_and_port,
    api_settings,
    count,
    load_account,
    login_settings,
    metrics_at,
    need_secret,
    save_account,
    secret,
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


LISTEN = "DRC_METRICS_LISTEN"


def test_an_address_and_port_may_be_of_ipv6() -> None:
    assert address_and_port({}, LISTEN) is None
    assert address_and_port({LISTEN: "127.0.0.1:9410"}, LISTEN) == ("127.0.0.1", 9410)
    assert address_and_port({LISTEN: "[::1]:9410"}, LISTEN) == ("::1", 9410)


@pytest.mark.parametrize(
    "said", ["9410", ":9410", "gpu1:", "::1:9410", "[]:1", "gpu1:0", "a:65536"]
)
def test_what_is_no_address_and_port_is_refused_by_name(said: str) -> None:
    with pytest.raises(Misconfigured, match=LISTEN):
        address_and_port({LISTEN: said}, LISTEN)


@pytest.mark.parametrize(
    ("said", "listens", "tls", "found"),
    [
        ("", "127.0.0.1", False, ("127.0.0.1:8787", False)),
        ("", "::1", True, ("[::1]:8787", True)),
        ("", "0.0.0.0", True, (f"{socket.gethostname()}:8787", True)),
        ("10.0.0.5:80", "127.0.0.1", True, ("10.0.0.5:80", True)),
        ("[fd00::5]:80", "127.0.0.1", False, ("[fd00::5]:80", False)),
        ("https://drc.test:443", "127.0.0.1", False, ("drc.test:443", True)),
        ("http://10.0.0.5:80", "127.0.0.1", True, ("10.0.0.5:80", False)),
        ("none", "127.0.0.1", False, None),
    ],
)
def test_prometheus_finds_a_program_where_it_listens_or_where_it_says(
    said: str, listens: str, tls: bool, found: tuple[str, bool] | None
) -> None:
    assert metrics_at({"DRC_METRICS_ADDRESS": said}, listens, 8787, tls=tls) == found


@pytest.mark.parametrize("said", ["drc.test", "ftp://drc.test:1", "https://", "https://drc.test/x"])
def test_what_is_no_place_for_metrics_is_refused(said: str) -> None:
    with pytest.raises(Misconfigured, match="DRC_METRICS_ADDRESS"):
        metrics_at({"DRC_METRICS_ADDRESS": said}, "127.0.0.1", 8787)


URL = "DRC_DATABASE_URL"


def test_a_secret_may_be_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://ada:hunter2@x\n")
    for told in (
        {URL: "postgresql://ada:hunter2@x"},
        {f"{URL}_FILE": str(tmp_path / "url")},
        {f"{URL}_COMMAND": f"cat '{tmp_path / 'url'}'"},
    ):
        found = need_secret(told, URL)
        assert found.shown == "postgresql://ada:hunter2@x"
        settings = api_settings({**API, URL: "", **told})
        for text in (repr(found), str(found), f"{found}", repr(settings), str([settings])):
            assert "hunter2" not in text
    assert secret({}, URL) is None


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({URL: "x", f"{URL}_FILE": "y"}, "both set"),
        ({f"{URL}_FILE": "/nonexistent"}, "FileNotFoundError"),
        ({f"{URL}_FILE": "/dev/null"}, "is empty"),
        ({f"{URL}_COMMAND": "sh -c 'echo hunter2; exit 1'"}, "CalledProcessError"),
        ({f"{URL}_COMMAND": "nonexistent-program"}, "FileNotFoundError"),
        ({f"{URL}_COMMAND": "echo 'unclosed"}, "ValueError"),
        ({}, "not set"),
    ],
)
def test_a_secret_that_is_not_there_is_a_sentence_without_it(
    told: dict[str, str], why: str
) -> None:
    with pytest.raises(Misconfigured, match=why) as refused:
        need_secret(told, URL)
    assert "hunter2" not in refused.value.message
    assert refused.value.__cause__ is None


def test_without_a_provider_there_is_none() -> None:
    assert login_settings({}) == LoginSettings()


def test_a_provider_is_an_issuer_and_what_we_are_to_it() -> None:
    told = {
        "DRC_OIDC_ISSUER": "https://id.example.org/",
        "DRC_OIDC_CLIENT_ID": "drc",
        "DRC_OIDC_PORTS": "8765, 8766",
        "DRC_ROLES": "/etc/drc/roles.toml",
    }
    assert login_settings(told) == LoginSettings(
        issuer="https://id.example.org/",
        client_id="drc",
        ports=(8765, 8766),
        roles=Path("/etc/drc/roles.toml"),
    )


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"DRC_OIDC_ISSUER": "http://id.example.org", "DRC_OIDC_CLIENT_ID": "x"}, "ISSUER"),
        ({"DRC_OIDC_ISSUER": "id.example.org", "DRC_OIDC_CLIENT_ID": "x"}, "ISSUER"),
        ({"DRC_OIDC_ISSUER": "https://id.example.org"}, "CLIENT_ID"),
        ({"DRC_OIDC_PORTS": "8765-8770"}, "PORTS"),
        ({"DRC_OIDC_PORTS": "70000"}, "PORTS"),
    ],
)
def test_a_provider_that_cannot_be_is_refused_by_name(told: dict[str, str], named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        login_settings(told)


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


def test_a_session_is_written_and_read_back(home: dict[str, str]) -> None:
    account = Account("http://api", "access", 1234.5, "refresh")
    save_account(account, home)
    assert load_account(home) == account
    assert account.stays
    assert "refresh" not in repr(account)


def test_the_environment_wins_over_the_file(home: dict[str, str]) -> None:
    save_account(Account("http://saved", "saved", 1234.5, "refresh"), home)
    told = {**home, "DRC_URL": "http://told/", "DRC_TOKEN": "told"}
    assert load_account(told) == Account("http://told", "told")
    assert load_account({**home, "DRC_TOKEN": "told"}) == Account("http://saved", "told")


def test_what_one_api_gave_is_not_shown_to_another(home: dict[str, str]) -> None:
    save_account(Account("http://saved", "saved", 1234.5, "refresh"), home)
    assert load_account({**home, "DRC_URL": "http://other"}) == Account("http://other", None)
    assert load_account({**home, "DRC_URL": "http://saved/"}).token == "saved"


@pytest.mark.parametrize(
    "text", ["{", "3", '"x"', "\N{SNOWMAN}", '{"expires_at": "now"}', '{"refresh": 1}']
)
def test_a_damaged_account_is_a_sentence(home: dict[str, str], text: str) -> None:
    save_account(Account("http://saved", "saved"), home)
    account_file(home).write_text(text)
    with pytest.raises(Misconfigured, match="cannot be read") as refused:
        load_account(home)
    assert "drc up" in refused.value.hint


def test_an_account_does_not_show_its_token() -> None:
    assert "secret" not in repr(Account("http://api", "secret"))
