"""Signing in with a real provider, through the real command line and a real browser."""

import json
import stat
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from drc.api import provider as api_provider
from drc.config import LoginSettings
from drc.db import Database
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wait import wait_until
from tests.wire.identity import Provider, browser, keyring, sign_in
from tests.wire.served import Api, Door, serving
from tests.wire.terminal import Terminal
from tests.wire.warm import Said, Warm

THE_PAST = timedelta(hours=1)
ROLES = """\
[roles]
researcher = ["*@example.org"]
operator = ["gpu-admins"]
"""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = Provider(tmp_path_factory.mktemp("provider"))
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Of a person who is signed in nowhere."""
    context = chromium.new_context()
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    path = tmp_path / "roles.toml"
    path.write_text(ROLES)
    return path


@pytest.fixture
def api(
    door: Door, postgres: Postgres, database: str, tmp_path: Path, provider: Provider, roles: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Api]:  # fmt: skip
    monkeypatch.setattr(api_provider, "COOLDOWN", 0.0)
    folder = tmp_path / "keys"
    folder.mkdir()
    login = LoginSettings(issuer=provider.issuer, client_id="drc", roles=roles)
    with serving(door, postgres, database, folder, login) as api:
        yield api


class Laptop(Terminal):
    """A terminal of somebody who is to sign in, beside a browser."""

    @property
    def opened(self) -> Path:
        return self.home / "opened"

    @property
    def account(self) -> dict[str, object]:
        return json.loads(self.file.read_text())

    @property
    def file(self) -> Path:
        return self.home / ".config" / "drc" / "account.json"

    def change(self, **account: object) -> None:
        self.file.write_text(json.dumps({**self.account, **account}))

    def login(self, page: Page, name: str) -> tuple[Said, int]:
        """What `drc login` said in the end, and the clicks that it took."""
        self.opened.unlink(missing_ok=True)
        with self.started("login") as running:
            wait_until(lambda: self.opened.exists() and self.opened.read_text(), "a page opens")
            page.goto(self.opened.read_text().strip())
            clicks = sign_in(page, name)
            page.wait_for_selector("text=Go back to your terminal.")
            return running.end(), clicks


@pytest.fixture
def laptop(api: Api, tmp_path: Path, warm: Warm) -> Callable[[str], Laptop]:
    def of(name: str) -> Laptop:
        home = tmp_path / f"home-{name}"
        home.mkdir()
        program = home / "browser"
        program.write_text(f'#!/bin/sh\necho "$1" >{home}/opened\n')
        program.chmod(0o755)
        return Laptop(home, api.url, "", warm, {"BROWSER": str(program)})

    return of


@pytest.fixture
def ada(laptop: Callable[[str], Laptop]) -> Laptop:
    return laptop("ada")


def test_two_clicks_sign_somebody_in(ada: Laptop, page: Page) -> None:
    said, clicks = ada.login(page, "ada")
    assert (said.status, clicks) == (0, 2), said.err
    assert "You are ada@example.org (researcher), ada inside vessels." in said.err
    assert stat.S_IMODE(ada.file.stat().st_mode) == 0o600
    me = ada("whoami")
    assert me.status == 0, me.err
    assert "renewed by itself" in me.out
    assert "Create vessels of one's own." in me.out
    assert "hosts:write" not in me.out
    assert ada("list").status == 0


def test_who_is_signed_in_with_the_provider_only_agrees(ada: Laptop, page: Page) -> None:
    ada.login(page, "ada")
    said, clicks = ada.login(page, "ada")
    assert (said.status, clicks) == (0, 1)


def test_without_a_browser_a_code_does(ada: Laptop, page: Page) -> None:
    ada.more = {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}
    with ada.started("login") as running:
        address = running.wait_for("On any device, open").split()[-1]
        code = running.wait_for("and enter").split()[-1]
        page.goto(address)
        page.fill("[name=user_code]", code)
        page.click("[type=submit]")
        page.click("button[autofocus]")
        sign_in(page, "ada")
        page.wait_for_selector("text=Sign-in Success")
        said = running.end()
    assert said.status == 0, said.err
    assert "You are ada@example.org" in said.err
    assert ada("list").status == 0


def test_whoever_says_no_is_not_signed_in(ada: Laptop, page: Page) -> None:
    with ada.started("login") as running:
        wait_until(lambda: ada.opened.exists() and ada.opened.read_text(), "a page opens")
        page.goto(ada.opened.read_text().strip())
        page.click("text=Cancel")
        page.wait_for_selector("text=That did not work.")
        said = running.end()
    assert said.status == 1
    assert "The identity provider refused: End-User aborted interaction." in said.err
    assert not ada.file.exists()


def test_groups_give_roles_and_a_role_that_is_taken_away_goes_with_the_next_token(
    ada: Laptop, page: Page, roles: Path
) -> None:
    said, _ = ada.login(page, "ada+gpu-admins")
    assert "(operator and researcher)" in said.err
    assert ada("host", "list").status == 0
    assert "hosts:write" in ada("whoami").out
    roles.write_text('[roles]\nresearcher = ["*@example.org"]\n')
    ada.change(expires_at=time.time() + 1.0)
    assert "hosts:write" not in ada("whoami").out
    roles.write_text("[roles]\n")
    ada.change(expires_at=time.time() + 1.0)
    said = ada("list")
    assert (said.status, "ada@example.org has no role here any more." in said.err) == (1, True)


def test_an_address_that_nobody_verified_gives_no_role(
    laptop: Callable[[str], Laptop], page: Page
) -> None:
    mallory = laptop("mallory")
    said, _ = mallory.login(page, "mallory")
    assert said.status == 1
    assert "mallory has no role here." in said.err
    assert not mallory.file.exists()


def test_keys_may_change_and_the_provider_may_be_down_without_anybody_being_signed_out(
    ada: Laptop, page: Page, provider: Provider, laptop: Callable[[str], Laptop]
) -> None:
    ada.login(page, "ada")
    provider.stop()
    try:
        ada.change(expires_at=time.time() - 1.0)
        assert ada("list").status == 0
        said = laptop("bob")("login")
        assert said.status == 4
        assert f"{provider.issuer} does not answer" in said.err
    finally:
        provider.start()  # with other keys
    ada.change(expires_at=time.time() - 1.0)
    assert ada("list").status == 0
    page.context.clear_cookies()
    said, _ = laptop("eve").login(page, "eve")
    assert said.status == 0, said.err


def test_commands_that_run_together_renew_the_token_once(ada: Laptop, page: Page, api: Api) -> None:
    ada.login(page, "ada")
    ada.change(expires_at=time.time() - 1.0)
    before = api.requests.count("POST /v1/login/refresh")
    with ada.started("list") as one, ada.started("list") as two, ada.started("gpus") as three:
        assert [running.end().status for running in (one, two, three)] == [0, 0, 0]
    assert api.requests.count("POST /v1/login/refresh") == before + 1


def test_a_clock_that_is_wrong_costs_a_renewal_and_nothing_else(
    ada: Laptop, page: Page, api: Api
) -> None:
    """By the laptop's clock the token is good for an hour yet; the API knows better."""
    ada.login(page, "ada")
    ada.change(token=api.token("ada", "researcher", -THE_PAST), expires_at=time.time() + 3600.0)
    assert ada("list").status == 0


def test_signing_out_ends_the_session(ada: Laptop, page: Page, db: Database) -> None:
    ada.login(page, "ada")
    kept = ada.account
    said = ada("logout")
    assert (said.status, "You are signed out." in said.err) == (0, True)
    assert not ada.file.exists()
    assert ada("list").status == 1
    assert run_sql(db, "SELECT ended_why FROM session") == [{"ended_why": "signed out"}]
    ada.file.write_text(json.dumps({**kept, "expires_at": time.time() - 1.0}))
    said = ada("list")
    assert (said.status, "You are not signed in any more." in said.err) == (1, True)
    assert "drc login" in said.err


def test_signing_out_works_while_the_api_is_away(ada: Laptop, page: Page) -> None:
    ada.login(page, "ada")
    ada.change(url="http://127.0.0.1:1")
    ada.more = {}
    ada.url = "http://127.0.0.1:1"
    said = ada("logout")
    assert (said.status, "You are signed out on this machine." in said.err) == (0, True)
    assert not ada.file.exists()


def test_a_session_ends_after_its_time(ada: Laptop, page: Page, db: Database) -> None:
    ada.login(page, "ada")
    run_sql(db, "UPDATE session SET expires_at = now() - interval '1 second' RETURNING id")
    ada.change(expires_at=time.time() - 1.0)
    said = ada("list")
    assert (said.status, "You are not signed in any more." in said.err) == (1, True)


def test_a_keyring_keeps_what_renews_the_token(ada: Laptop, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    folder.mkdir()
    with keyring(folder) as found:
        ada.more = {**ada.more, **found}
        said, _ = ada.login(page, "ada")
        assert said.status == 0, said.err
        assert ada.account["refresh"] is None
        ada.change(expires_at=time.time() - 1.0)
        assert ada("list").status == 0
        assert ada.account["refresh"] is None
        before = ada.account
        ada.change(expires_at=time.time() - 1.0)
        assert ada("list").status == 0  # the next refresh token was kept there, too
        assert ada.account != before
        assert ada("logout").status == 0
        ada.file.write_text(json.dumps({**before, "expires_at": 0.0}))
        said = ada("list")
        assert (said.status, "Your sign-in has run out." in said.err) == (1, True)


def test_a_keyring_that_went_away_costs_a_login(ada: Laptop, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    folder.mkdir()
    with keyring(folder) as found:
        ada.more = {**ada.more, **found}
        ada.login(page, "ada")
    assert ada("list").status == 0
    ada.change(expires_at=time.time() - 1.0)
    said = ada("list")
    assert (said.status, "Your sign-in has run out." in said.err) == (1, True)
    assert "drc login" in said.err
    said, _ = ada.login(page, "ada")
    assert said.status == 0, said.err
    assert isinstance(ada.account["refresh"], str)
    assert ada("list").status == 0


def test_signing_out_everywhere_ends_the_sessions_of_lost_machines_too(
    laptop: Callable[[str], Laptop], page: Page
) -> None:
    lost, other = laptop("lost"), laptop("other")
    lost.login(page, "ada")
    other.login(page, "ada")
    said = other("logout", "--everywhere")
    assert said.status == 0, said.err
    assert said.err.count("ended: drc ") == 2
    assert "You are signed out." in said.err
    lost.change(expires_at=time.time() - 1.0)
    said = lost("list")
    assert (said.status, "You are not signed in any more." in said.err) == (1, True)
