"""Personal access tokens: what they may do, for how long, and that they are nowhere to be read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from drc.auth import ROLES
from drc.config import LoginSettings
from drc.db import Database
from drc.secret import PERSONAL
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wire.identity import Issuer
from tests.wire.served import Api, Door, serving
from tests.wire.terminal import Terminal, lines

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKJ6sLvUzbhS0Vl2uPp9GqgkXbJbzKvVhJq8rXyZ3xQ1"
EVERYBODY = '[roles]\nresearcher = ["*@example.org"]\n'


def made(api: Api, token: str = "", **wish: Any) -> httpx.Response:
    return api.raw("POST", "/v1/tokens", {"name": "ci", **wish}, token=token)


def test_it_speaks_for_its_owner(api: Api, host: int) -> None:
    token = made(api).json()["token"]
    assert token.startswith(PERSONAL)
    api.create("bert")
    assert [v["name"] for v in api.raw("GET", "/v1/vessels", token=token).json()] == ["bert"]
    assert api.raw("POST", "/v1/vessels", {"name": "second"}, token=token).status_code == 201
    assert api.raw("GET", "/v1/vessels/second", token=api.token("bob")).status_code == 404


def test_it_may_do_what_it_was_made_for(api: Api, host: int) -> None:
    token = made(api, permissions=["vessels:read"]).json()["token"]
    assert api.raw("GET", "/v1/vessels", token=token).status_code == 200
    assert api.raw("POST", "/v1/vessels", {"name": "bert"}, token=token).status_code == 403
    assert api.raw("GET", "/v1/gpus", token=token).status_code == 403


@pytest.mark.parametrize("permission", ["hosts:write", "vessels:fly", "tokens:issue"])
def test_it_may_do_no_more_than_its_owner_and_makes_no_others(api: Api, permission: str) -> None:
    answer = made(api, permissions=["vessels:read", permission])
    assert (answer.status_code, permission in answer.json()["title"]) == (403, True)
    token = made(api).json()["token"]
    for method, path in (
        ("GET", "/v1/tokens"),
        ("POST", "/v1/tokens"),
        ("DELETE", "/v1/tokens/ci"),
    ):
        assert api.raw(method, path, {"name": "another"}, token=token).status_code == 403


def test_it_is_shown_once_and_kept_as_a_hash(api: Api, db: Database) -> None:
    answer = made(api).json()
    token = answer.pop("token")
    listed = api.raw("GET", "/v1/tokens")
    assert listed.json()[0]["name"] == "ci"
    dump = run_sql(db, "SELECT t::text, encode(hash, 'hex') FROM token t")
    audit = run_sql(db, "SELECT a::text FROM audit a")
    secret = token.removeprefix(PERSONAL)
    assert secret not in str(dump) + str(audit) + listed.text


def test_its_use_is_noted(api: Api, db: Database) -> None:
    token = made(api).json()["token"]
    assert api.raw("GET", "/v1/tokens").json()[0]["used_at"] is None
    api.raw("GET", "/v1/vessels", token=token)
    (shown,) = api.raw("GET", "/v1/tokens").json()
    assert shown["used_from"] == "127.0.0.1"
    api.raw("GET", "/v1/vessels", token=token)
    assert api.raw("GET", "/v1/tokens").json() == [shown]  # to a minute
    api.raw("POST", "/v1/hosts", {}, token=token)
    (entry,) = run_sql(db, "SELECT who, actor FROM audit WHERE result = 'forbidden'")
    assert entry["actor"] | {"who": entry["who"]} == {
        "who": "ada", "subject": "ada", "signer": "personal", "token": "ci", "address": "127.0.0.1",
        "request": entry["actor"]["request"],
    }  # fmt: skip


def test_a_revoked_one_is_good_for_nothing_at_once(api: Api) -> None:
    token = made(api).json()["token"]
    assert api.raw("DELETE", "/v1/tokens/ci").status_code == 204
    assert api.raw("GET", "/v1/vessels", token=token).status_code == 401
    assert api.raw("DELETE", "/v1/tokens/ci").status_code == 404
    assert made(api).status_code == 201


def test_one_that_ran_out_is_good_for_nothing_and_makes_room(api: Api, db: Database) -> None:
    token = made(api).json()["token"]
    assert made(api).status_code == 409
    run_sql(db, "UPDATE token SET expires_at = now() - interval '1 second' RETURNING id")
    assert api.raw("GET", "/v1/vessels", token=token).status_code == 401
    assert api.raw("GET", "/v1/tokens").json() == []
    assert made(api).status_code == 201


@pytest.mark.parametrize("token", [PERSONAL, PERSONAL + "x" * 43, PERSONAL + "'; DROP TABLE token"])
def test_one_that_was_never_made_is_refused(api: Api, token: str) -> None:
    made(api)
    assert api.raw("GET", "/v1/vessels", token=token).status_code == 401


@pytest.mark.parametrize(
    "wish",
    [{"name": ""}, {"name": "a b"}, {"name": "../x"}, {"name": "x" * 65}, {"life": "0d"},
     {"life": "367d"}, {"life": "ever"}, {"permissions": "all"}, {"owner": "bob"}],
)  # fmt: skip
def test_a_wish_that_cannot_be_is_a_sentence(api: Api, wish: dict[str, Any]) -> None:
    answer = made(api, **wish)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-input")


def test_nobody_sees_or_revokes_anothers(api: Api) -> None:
    made(api)
    bob = api.token("bob", "operator")
    assert api.raw("GET", "/v1/tokens", token=bob).json() == []
    assert api.raw("DELETE", "/v1/tokens/ci", token=bob).status_code == 404
    assert made(api, bob).status_code == 201


# As far as its owner may -------------------------------------------------------------------------


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    path = tmp_path / "roles.toml"
    path.write_text(EVERYBODY + 'operator = ["admins"]\n')
    return path


@pytest.fixture
def company(
    door: Door, postgres: Postgres, database: str, tmp_path: Path, issuer: Issuer, roles: Path
) -> Iterator[Api]:
    """An API with a provider."""
    folder = tmp_path / "keys"
    folder.mkdir()
    login = LoginSettings(issuer=issuer.url, client_id="drc", roles=roles)
    with serving(door, postgres, database, folder, login) as api:
        yield api


def signed_in(api: Api, issuer: Issuer, **claims: Any) -> str:
    proof = {"id_token": issuer.token(**claims)}
    return str(api.raw("POST", "/v1/login", proof, token=None).json()["access_token"])


def test_what_is_taken_from_its_owner_is_taken_from_it(
    company: Api, issuer: Issuer, roles: Path
) -> None:
    access = signed_in(company, issuer, groups=["admins"], jti="1")
    token = made(company, access).json()["token"]
    assert "hosts:write" in company.raw("GET", "/v1/whoami", token=token).json()["permissions"]
    signed_in(company, issuer, groups=[], jti="2")  # no more an admin, as the provider says now
    assert "hosts:write" not in company.raw("GET", "/v1/whoami", token=token).json()["permissions"]
    roles.write_text("[roles]\n")
    assert company.raw("GET", "/v1/vessels", token=token).status_code == 403
    roles.write_text(EVERYBODY)
    assert company.raw("GET", "/v1/vessels", token=token).status_code == 200


def test_a_queue_is_used_by_whom_the_file_says_and_by_their_tokens(
    company: Api, issuer: Issuer, roles: Path
) -> None:
    with company.client("op", "operator") as operator:
        operator.call("POST", "/v1/queues", {"name": "big", "users": []})

    def create(token: str) -> str:
        wish = {"queue": ["big"], "gpus": 0}
        return company.raw("POST", "/v1/vessels", wish, token=token).json()["code"]

    let_in = "nothing-fits"  # and then it has no hosts
    assert create(signed_in(company, issuer, groups=["ml"], jti="1")) == "forbidden"
    roles.write_text(EVERYBODY + '[queues]\nbig = ["ml"]\n')
    access = signed_in(company, issuer, groups=["ml"], jti="2")
    assert create(access) == let_in
    use = ["vessels:create", "queues:use:big"]
    with_it = made(company, access, permissions=use).json()["token"]
    without = made(company, access, name="second", permissions=use[:1]).json()["token"]
    assert (create(with_it), create(without)) == (let_in, "forbidden")
    beyond = ["queues:use:small"]
    assert made(company, access, name="third", permissions=beyond).status_code == 403
    roles.write_text(EVERYBODY)
    assert create(with_it) == "forbidden"


def test_no_provider_says_what_only_the_key_file_may(company: Api, issuer: Issuer) -> None:
    access = signed_in(company, issuer, **{"key file": ["operator"]})
    me = company.raw("GET", "/v1/whoami", token=access).json()
    assert me["roles"] == ["researcher"]
    token = made(company, access).json()["token"]
    mine = company.raw("GET", "/v1/whoami", token=token).json()["permissions"]
    assert set(mine) == ROLES["researcher"] - {"tokens:issue"}


def test_signing_out_everywhere_ends_it_too(company: Api, issuer: Issuer) -> None:
    access = signed_in(company, issuer)
    token = made(company, access).json()["token"]
    assert company.raw("POST", "/v1/logout/everywhere", token=access).status_code == 200
    assert company.raw("GET", "/v1/vessels", token=token).status_code == 401
    # the access token lives for minutes yet, and makes nothing that would live longer
    assert made(company, access, name="another").status_code == 401
    assert company.raw("POST", "/v1/keys", {"key": KEY}, token=access).status_code == 401


# For people --------------------------------------------------------------------------------------


def test_by_the_command_line(drc: Terminal, terminal: Callable[[str], Terminal], host: int) -> None:
    said = drc("token", "create", "ci", "--permission", "vessels:read", "--life", "30d")
    assert said.status == 0, said.err
    assert "shown this once" in said.err
    script = terminal("script")
    script.token = said.out.strip()
    assert script("list").status == 0
    assert script("create", "mine").status == 1
    head, row = lines(drc("token", "list").out)
    assert (head[0], row[0], row[-1]) == ("NAME", "ci", "vessels:read")
    assert "from 127.0.0.1" in row[2]
    assert drc("token", "revoke", "ci").status == 0
    said = script("list")
    assert (said.status, "was revoked" in said.err) == (1, True)
    assert "You have no tokens." in drc("token", "list").err
    assert drc("token", "revoke", "ci").status == 1
