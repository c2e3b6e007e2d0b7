"""`drc key`, and that a change reaches the vessels that are up."""

import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drc.secret import openssh_public
from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal


def key(number: int = 1) -> str:
    return openssh_public(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def test_keys_are_added_listed_and_removed(drc: Terminal) -> None:
    (drc.home / "id.pub").write_text(key(1) + " ada@laptop\n")
    assert drc("key", "add", str(drc.home / "id.pub")).status == 0
    assert drc("key", "add", key(2), "--name", "desk/top?").status == 0
    assert drc("key", "add", "-", stdin=key(3)).status == 0
    shown = json.loads(drc("key", "list", "--json").out)
    assert [(k["name"], k["line"]) for k in shown] == [
        ("ada@laptop", key(1)),
        ("desk/top?", key(2)),
        ("ssh-ed25519", key(3)),
    ]
    said = drc("key", "list")
    assert all(k["fingerprint"] in said.out for k in shown)
    assert drc("key", "remove", "desk/top?").status == 0
    assert drc("key", "remove", shown[0]["fingerprint"]).status == 0
    assert [k["name"] for k in json.loads(drc("key", "list", "--json").out)] == ["ssh-ed25519"]


def test_a_key_that_is_there_is_not_added_twice(drc: Terminal, api: Api) -> None:
    assert api.raw("POST", "/v1/keys", {"key": key()}).status_code == 201
    assert api.raw("POST", "/v1/keys", {"key": key() + " other@name"}).status_code == 200
    assert drc("key", "add", key()).status == 0
    assert len(api.raw("GET", "/v1/keys").json()) == 1


def test_two_keys_of_one_name_get_two_names(api: Api) -> None:
    for number in (1, 2, 3):
        api.raw("POST", "/v1/keys", {"key": f"{key(number)} ada@laptop"})
    names = [k["name"] for k in api.raw("GET", "/v1/keys").json()]
    assert names == ["ada@laptop", "ada@laptop-2", "ada@laptop-3"]


def test_keys_are_ones_own(terminal: Callable[[str], Terminal], drc: Terminal, api: Api) -> None:
    drc("key", "add", key(), "--name", "laptop")
    bob = terminal("bob")
    assert bob("key", "list", "--json").out.strip() == "[]"
    assert bob("key", "remove", "laptop").status == 1
    assert len(api.raw("GET", "/v1/keys").json()) == 1


def add(drc: Terminal) -> None:
    assert drc("key", "add", key(2), "--name", "desk").status == 0


def remove(drc: Terminal) -> None:
    assert drc("key", "remove", "laptop").status == 0


@pytest.mark.parametrize(("change", "left"), [(add, [key(1), key(2)]), (remove, [])])
def test_a_change_is_work_for_each_vessel_that_is_up(
    drc: Terminal, api: Api, standin: StandIn, change: Callable[[Terminal], None], left: list[str]
) -> None:
    api.raw("POST", "/v1/keys", {"key": key(1), "name": "laptop"})
    for name in ("bert", "otter"):
        api.create(name)
    api.create("theirs", subject="bob")
    standin.run_once()
    change(drc)
    work = [standin.take("keys"), standin.take("keys")]
    assert {piece.name for piece in work} == {"bert", "otter"}
    assert standin.claim() is None
    assert [standin.tell.secrets(piece)["authorized_keys"] for piece in work] == [left, left]


def test_a_vessel_that_starts_later_has_the_keys_as_they_are_then(
    api: Api, standin: StandIn
) -> None:
    api.create("bert")
    api.raw("POST", "/v1/keys", {"key": key(1)})
    assert standin.tell.secrets(standin.take("start"))["authorized_keys"] == [key(1)]
