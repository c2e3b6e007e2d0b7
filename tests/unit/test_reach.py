"""How vessels are reached, as the environment says; and what they are called in a tailnet."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conductor.reach.configured import reach_of
from conductor.reach.headscale import Headscale
from conductor.reach.local import Local
from conductor.reach.plane import Device
from conductor.reach.tailnet import LABEL, Tailnet, hostname
from conductor.reach.tailscale import Tailscale
from conductor.work import Work
from drc.errors import Misconfigured
from drc.tailnet import owner_tag

TOKEN = {"DRC_TAILNET": "tailscale", "DRC_TAILNET_TOKEN": "tskey-api-1"}
CLIENT = {
    "DRC_TAILNET": "tailscale",
    "DRC_TAILNET_CLIENT_ID": "k1",
    "DRC_TAILNET_CLIENT_SECRET": "tskey-client-k1-2",
}
HEADSCALE = {
    "DRC_TAILNET": "headscale",
    "DRC_TAILNET_URL": "https://hs.example.org",
    "DRC_TAILNET_TOKEN": "hskey-api-1",
}


def plane_of(environ: dict[str, str]) -> Any:
    reach = reach_of(environ)
    assert isinstance(reach, Tailnet)
    reach.plane.web.http.close()
    return reach.plane


@pytest.mark.parametrize("environ", [{}, {"DRC_TAILNET": ""}, {"DRC_TAILNET": "local"}])
def test_without_a_tailnet_ssh_is_a_port_of_the_host(environ: dict[str, str]) -> None:
    assert isinstance(reach_of(environ), Local)


def test_a_token_is_enough_for_tailscale() -> None:
    plane = plane_of({**TOKEN, "DRC_TAILNET_URL": "", "DRC_TAILNET_TAG": ""})
    assert isinstance(plane, Tailscale)
    assert (plane.tag, plane.login_server, plane.can_move) == ("tag:vessel", "", True)
    assert plane.web.http.base_url == "https://api.tailscale.com/api/v2/"


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("tskey-api-1\n")
    file = {"DRC_TAILNET": "tailscale", "DRC_TAILNET_TOKEN_FILE": str(tmp_path / "token")}
    assert plane_of(file)._authorize() == plane_of(TOKEN)._authorize()


def test_network_containers_wait_joined_only_where_that_is_said() -> None:
    reach = reach_of({**TOKEN, "DRC_TAILNET_BERTHS": "joined"})
    assert isinstance(reach, Tailnet)
    assert reach.joined
    unsaid = reach_of(TOKEN)
    assert isinstance(unsaid, Tailnet)
    assert not unsaid.joined
    for one in (reach, unsaid):
        one.plane.web.http.close()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("environ", [
    {**TOKEN, "DRC_TAILNET_BERTHS": "yes"}, {**HEADSCALE, "DRC_TAILNET_BERTHS": "joined"},
])  # fmt: skip
def test_a_way_to_wait_that_there_is_not_is_said(environ: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="DRC_TAILNET_BERTHS is “"):
        reach_of(environ)


def test_owners_are_apart_unless_that_is_said() -> None:
    for told, apart in (("", True), ("apart", True), ("together", False)):
        reach = reach_of({**TOKEN, "DRC_TAILNET_OWNERS": told})
        assert isinstance(reach, Tailnet)
        assert reach.apart == apart
        reach.plane.web.http.close()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Misconfigured, match="DRC_TAILNET_OWNERS is “alone”"):
        reach_of({**TOKEN, "DRC_TAILNET_OWNERS": "alone"})


def test_an_oauth_client_may_take_the_place_of_a_token() -> None:
    assert plane_of(CLIENT)._client == ("k1", "tskey-client-k1-2")


def test_addresses_are_taken_with_or_without_a_slash_at_the_end() -> None:
    there = {"DRC_TAILNET_URL": "http://10.0.0.1:8080/", "DRC_TAILNET_TAG": "tag:gpu-2"}
    plane = plane_of({**TOKEN, **there, "DRC_TAILNET_LOGIN_SERVER": "https://login.example.org/"})
    assert (plane.tag, plane.login_server) == ("tag:gpu-2", "https://login.example.org")
    assert plane.web.http.base_url == "http://10.0.0.1:8080/api/v2/"
    plane = plane_of({**HEADSCALE, "DRC_TAILNET_URL": "https://hs.example.org/under/"})
    assert plane.web.http.base_url == "https://hs.example.org/under/api/v1/"


def test_headscale_is_api_and_login_server_at_one_address() -> None:
    plane = plane_of(HEADSCALE)
    assert isinstance(plane, Headscale)
    assert (plane.tag, plane.login_server, plane.can_move) == (
        "tag:vessel",
        "https://hs.example.org",
        False,
    )


@pytest.mark.parametrize(
    ("environ", "change", "why"),
    [
        (TOKEN, {"DRC_TAILNET": "wireguard"}, "DRC_TAILNET is “wireguard”, which is none"),
        (TOKEN, {"DRC_TAILNET": "Tailscale"}, "DRC_TAILNET is “Tailscale”, which is none"),
        (TOKEN, {"DRC_TAILNET_TAG": "vessel"}, "DRC_TAILNET_TAG is “vessel”, which is no tag"),
        (TOKEN, {"DRC_TAILNET_TAG": "tag:"}, "DRC_TAILNET_TAG is “tag:”, which is no tag"),
        (TOKEN, {"DRC_TAILNET_TAG": "tag:a,tag:b"}, "which is no tag"),
        (TOKEN, {"DRC_TAILNET_TAG": "tag:a\n"}, "which is no tag"),
        (TOKEN, {"DRC_TAILNET_TOKEN": ""},
         "One of DRC_TAILNET_TOKEN and DRC_TAILNET_CLIENT_SECRET must be set"),
        (TOKEN, {"DRC_TAILNET_CLIENT_SECRET": "x"},
         "One of DRC_TAILNET_TOKEN and DRC_TAILNET_CLIENT_SECRET must be set"),
        (TOKEN, {"DRC_TAILNET_TOKEN_FILE": "/nonexistent"}, "both set"),
        (TOKEN, {"DRC_TAILNET_TOKEN": "", "DRC_TAILNET_TOKEN_FILE": "/nonexistent"},
         "FileNotFoundError"),
        (TOKEN, {"DRC_TAILNET_TOKEN": "tskey api"}, "DRC_TAILNET_TOKEN has a space"),
        (TOKEN, {"DRC_TAILNET_TOKEN": "tskey\napi"}, "DRC_TAILNET_TOKEN has a space"),
        (TOKEN, {"DRC_TAILNET_TOKEN": "tskey-ä"}, "DRC_TAILNET_TOKEN has a space"),
        (TOKEN, {"DRC_TAILNET_URL": "api.tailscale.com"},
         "DRC_TAILNET_URL is “api.tailscale.com”, which is no http or https address"),
        (TOKEN, {"DRC_TAILNET_URL": "ftp://x"}, "no http or https address"),
        (TOKEN, {"DRC_TAILNET_URL": "https://"}, "no http or https address"),
        (TOKEN, {"DRC_TAILNET_URL": "https://[::1"}, "no http or https address"),
        (TOKEN, {"DRC_TAILNET_URL": " https://x"}, "no http or https address"),
        (TOKEN, {"DRC_TAILNET_LOGIN_SERVER": "login.example.org"},
         "DRC_TAILNET_LOGIN_SERVER is “login.example.org”, which is no http or https address"),
        (CLIENT, {"DRC_TAILNET_CLIENT_ID": ""}, "DRC_TAILNET_CLIENT_ID is not set"),
        (CLIENT, {"DRC_TAILNET_CLIENT_SECRET": ""}, "must be set"),
        (CLIENT, {"DRC_TAILNET_CLIENT_SECRET": "a b"}, "DRC_TAILNET_CLIENT_SECRET has a space"),
        (HEADSCALE, {"DRC_TAILNET_URL": ""}, "DRC_TAILNET_URL is not set"),
        (HEADSCALE, {"DRC_TAILNET_URL": "hs.example.org"}, "no http or https address"),
        (HEADSCALE, {"DRC_TAILNET_TOKEN": ""}, "DRC_TAILNET_TOKEN is not set"),
        (HEADSCALE, {"DRC_TAILNET_TOKEN": "a b"}, "DRC_TAILNET_TOKEN has a space"),
        (HEADSCALE, {"DRC_TAILNET_TAG": "vessel"}, "which is no tag"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_named_and_no_secret_shown(
    environ: dict[str, str], change: dict[str, str], why: str
) -> None:
    told = {**environ, **change}
    with pytest.raises(Misconfigured, match=why) as refused:
        reach_of(told)
    secrets = [told.get(name) for name in ("DRC_TAILNET_TOKEN", "DRC_TAILNET_CLIENT_SECRET")]
    text = refused.value.message + refused.value.hint
    assert not [secret for secret in secrets if secret and len(secret) > 1 and secret in text]


def called(name: str, login: str) -> str:
    return hostname(Work(1, "start", 1, 1, 1, name=name, login=login))


@pytest.mark.parametrize(
    ("name", "login", "shown"),
    [
        ("bert", "ada", "bert-ada"),
        ("Bert", "Ada", "bert-ada"),
        ("bert-2", "ada-lovelace", "bert-2-ada-lovelace"),
        ("bert", "ada.lovelace", "bert-ada-lovelace"),
        ("bert", "ada@example.org", "bert-ada-example-org"),
        ("bert", "åda", "bert--da"),
        ("bert", "李", "bert"),
        ("-bert_", "_ada-", "bert---ada"),
        ("b" * 40, "a" * 22, "b" * 40 + "-" + "a" * 22),
    ],
)
def test_a_vessel_is_called_by_its_name_and_its_owners_in_a_tailnet(
    name: str, login: str, shown: str
) -> None:
    assert called(name, login) == shown


def test_a_name_that_is_too_long_is_cut_and_stays_its_own() -> None:
    """The longest that there are, a name of 40 and a login of 29 letters, are too long."""
    names = [called("b" * 40, "a" * length) for length in range(20, 30)]
    names += [called("b" * 40, "a" * 28 + last) for last in "xyz"]
    assert [len(name) for name in names[:3]] == [61, 62, 63]
    assert {len(name) for name in names[3:]} == {LABEL}
    assert len({*names}) == len(names)
    assert all(name.startswith("b" * 40 + "-aa") for name in names)


def test_a_cut_name_is_the_same_each_time_and_a_label_still() -> None:
    name = called("b" * 40, "a" * 12 + "-" * 3 + "c" * 12)
    assert name == called("b" * 40, "a" * 12 + "-" * 3 + "c" * 12)
    assert len(name) <= LABEL
    assert name.replace("-", "").isalnum()
    assert name[0] != "-" != name[-1]


# Tags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "tag"),
    [
        ("ada", "tag:vessel-ada"),
        ("ada-lovelace2", "tag:vessel-ada-lovelace2"),
        ("ada-", "tag:vessel-ada-"),
        ("Ada", "tag:vessel-20001"),
        ("ada.l", "tag:vessel-20001"),
        ("åda", "tag:vessel-20001"),
        ("ada\n", "tag:vessel-20001"),
        ("20001", "tag:vessel-20001"),
        ("", "tag:vessel-20001"),
    ],
)
def test_an_owners_vessels_have_a_tag_of_their_own(login: str, tag: str) -> None:
    assert owner_tag("tag:vessel", login, 20001) == tag


def test_no_two_owners_have_the_same_tag() -> None:
    """Logins that can be told apart as they are, by case alone, or by letters that tags have not;
    one that looks like another's number.
    """
    logins = ["ada", "Ada", "ADA", "a.da", "a-da", "a_da", "u20001", "20001", "20002", "ada2"]
    tags = {owner_tag("tag:vessel", login, 20001 + n) for n, login in enumerate(logins)}
    assert len(tags) == len(logins)


def marked(*tags: str, apart: bool = True) -> bool:
    reach = Tailnet(plane_of(TOKEN), apart=apart)
    work = Work(1, "start", 1, 1, 1, name="bert", login="ada", uid=20001)
    device = Device("n1", "bert-ada", "", "", "", datetime.now(UTC), frozenset(tags))
    return reach.is_marked(work, device)


def test_a_device_is_as_it_should_be_with_its_owners_tag_and_no_other_owners() -> None:
    assert marked("tag:vessel", "tag:vessel-ada")
    assert marked("tag:vessel", "tag:vessel-ada", "tag:prod", "tag:vessels-of-all")
    assert not marked("tag:vessel")
    assert not marked("tag:vessel", "tag:vessel-bob")
    assert not marked("tag:vessel", "tag:vessel-ada", "tag:vessel-bob")
    assert marked("tag:vessel", apart=False)
    assert not marked("tag:vessel", "tag:vessel-ada", apart=False)
