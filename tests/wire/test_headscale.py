"""The client of Headscale's API, with the answers of 0.29 and of 0.30."""

import contextlib
import logging
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conductor.reach.headscale import Headscale
from conductor.reach.plane import Device
from drc.errors import DrcError, TailnetRefused, TailnetUnreachable
from tests.wire import planes
from tests.wire.planes import Answer, broken, cut, limited, said, torn

TAG = "tag:vessel"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture(params=["0.29", "0.30"])
def api(request: pytest.FixtureRequest) -> Iterator[planes.Headscale]:
    with planes.Headscale(request.param) as api:
        yield api


@contextlib.contextmanager
def asking(api: planes.Headscale, token: str, **how: Any) -> Iterator[Headscale]:
    plane = Headscale(TAG, token=token, url=api.url, **how)
    with plane.web.http:
        yield plane


@pytest.fixture
def plane(api: planes.Headscale) -> Iterator[Headscale]:
    with asking(api, api.token) as plane:
        yield plane


def test_nodes_join_at_the_address_of_the_api(api: planes.Headscale, plane: Headscale) -> None:
    assert plane.login_server == api.url


def test_a_key_is_for_one_device_that_stays_with_the_tag_and_runs_out_in_minutes(
    api: planes.Headscale, plane: Headscale
) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert plane.mint("vessel 7c9e6679") == api.keys[0]["key"] == "hskey-auth-1-9"
    (request,) = api.requests
    assert (request.method, request.path) == ("POST", "/api/v1/preauthkey")
    assert request.headers["Authorization"] == "Bearer hskey-api-1"
    assert request.headers["Content-Type"] == "application/json"
    wish = request.json
    until = datetime.fromisoformat(wish.pop("expiration"))
    assert before + timedelta(minutes=5) <= until <= datetime.now(UTC) + timedelta(minutes=5)
    assert wish == {"reusable": False, "ephemeral": False, "aclTags": ["tag:vessel"]}


def test_devices_are_those_with_the_tag(api: planes.Headscale, plane: Headscale) -> None:
    api.join("1", "100.64.0.1", ["tag:other", TAG])
    api.join("2", "100.64.0.2", ["tag:vessels"])
    api.join("3", "100.64.0.3", [])
    api.join("4", "100.64.0.4", [])
    del api.devices["4"]["tags"]
    (found,) = plane.devices()
    assert found == Device(
        id="1",
        hostname="host-1",
        ipv4="100.64.0.1",
        ipv6="fd7a:115c:a1e0::1",
        name="",
        made_at=datetime(2026, 11, 24, 12, 33, 52, 123456, tzinfo=UTC),
        tags=frozenset({"tag:other", TAG}),
    )
    (request,) = api.requests
    assert (request.method, request.path, request.text) == ("GET", "/api/v1/node", "")


def test_what_a_device_does_not_have_is_empty(api: planes.Headscale, plane: Headscale) -> None:
    api.join("1", "100.64.0.1", [TAG], ipAddresses=["fd7a:115c:a1e0::1"], createdAt=None, name="")
    (found,) = plane.devices()
    assert (found.hostname, found.ipv4, found.ipv6) == ("host-1-x", "", "fd7a:115c:a1e0::1")
    assert found.made_at == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("none", [[], None])
def test_a_tailnet_without_devices_has_none(
    api: planes.Headscale, plane: Headscale, none: list[Any] | None
) -> None:
    api.play(said(200, {"nodes": none}))
    assert plane.devices() == []


def test_an_owners_tag_is_given_to_the_device_and_not_by_the_key(
    api: planes.Headscale, plane: Headscale
) -> None:
    plane.mint("vessel", ["tag:vessel-ada"])
    assert api.keys[0]["aclTags"] == [TAG]
    api.join("1", "100.64.0.1", [TAG])
    plane.mark("1", ["tag:vessel-ada"])
    request = api.requests[-1]
    assert (request.method, request.path) == ("POST", "/api/v1/node/1/tags")
    assert plane.devices()[0].tags == {TAG, "tag:vessel-ada"}


def test_a_tag_that_the_policy_does_not_know_is_refused(
    api: planes.Headscale, plane: Headscale
) -> None:
    api.join("1", "100.64.0.1", [TAG])
    with pytest.raises(TailnetRefused, match=r"\[tag:vessel tag:vessel-bob\] are invalid or not"):
        plane.mark("1", ["tag:vessel-bob"])
    assert api.devices["1"]["tags"] == [TAG]


def test_a_device_keeps_the_address_that_headscale_gave_it(
    api: planes.Headscale, plane: Headscale
) -> None:
    assert not plane.can_move
    with pytest.raises(TailnetRefused, match="no call that gives a device another address"):
        plane.move("1", "100.64.0.9")
    assert api.requests == []


def test_a_deleted_device_is_gone_and_may_be_deleted_again(
    api: planes.Headscale, plane: Headscale
) -> None:
    api.join("1", "100.64.0.1", [TAG])
    plane.delete("1")
    assert api.devices == {}
    plane.delete("1")
    assert [(asked.method, asked.path) for asked in api.requests] == [
        ("DELETE", "/api/v1/node/1")
    ] * 2


def test_a_device_of_another_control_plane_is_not_looked_for(
    api: planes.Headscale, plane: Headscale
) -> None:
    """Vessels may have joined Tailscale, before Headscale was put in its place."""
    plane.delete("nGNE1CNTRL")
    assert api.requests == []


def test_a_tag_that_cannot_be_is_refused_with_what_headscale_says(
    api: planes.Headscale, plane: Headscale
) -> None:
    plane.tag = "tag:Vessel"
    with pytest.raises(TailnetRefused) as refused:
        plane.mint("vessel")
    what = {"0.29": "", "0.30": "invalid tag: "}[api.version]
    assert refused.value.message == f"Headscale refused: {what}tag should be lowercase"
    assert len(api.requests) == 1


def test_a_key_that_is_not_known_is_refused(api: planes.Headscale) -> None:
    with asking(api, "hskey-api-of-yesterday") as plane:
        with pytest.raises(TailnetRefused) as refused:
            plane.devices()
        assert refused.value.message == "Headscale does not let us in: Unauthorized"
        assert "key for the tailnet" in refused.value.hint
    assert len(api.requests) == 1


def test_what_is_not_there_is_refused(api: planes.Headscale, plane: Headscale) -> None:
    api.always(api.refuse(404, "page not found"))
    for call in (plane.devices, lambda: plane.mint("vessel")):
        with pytest.raises(TailnetRefused, match="Headscale refused: page not found"):
            call()


def test_a_device_that_cannot_be_deleted_is_refused(
    api: planes.Headscale, plane: Headscale
) -> None:
    api.always(api.refuse(400, "not that one"))
    with pytest.raises(TailnetRefused, match="Headscale refused: not that one"):
        plane.delete("1")


@pytest.mark.parametrize("fault", [limited(), broken(502), cut(), torn(), None])
def test_what_fails_once_is_asked_again(
    api: planes.Headscale, plane: Headscale, fault: Answer | None
) -> None:
    api.join("1", "100.64.0.1", [TAG])
    api.play(fault or api.refuse(500, "database is locked"))
    assert [device.id for device in plane.devices()] == ["1"]
    assert len(api.requests) == 2


def test_a_deletion_whose_answer_is_lost_is_done(api: planes.Headscale, plane: Headscale) -> None:
    api.join("1", "100.64.0.1", [TAG])
    api.play(cut(takes=True))
    plane.delete("1")
    assert (api.devices, len(api.requests)) == ({}, 2)


def test_a_key_whose_answer_is_lost_is_made_anew(api: planes.Headscale, plane: Headscale) -> None:
    api.play(cut(takes=True))
    assert plane.mint("vessel") == "hskey-auth-2-9"


def test_what_fails_on_is_unreachable_and_says_how(api: planes.Headscale) -> None:
    with asking(api, api.token, patience=0) as plane:
        api.play(api.refuse(500, "database is locked"))
        with pytest.raises(TailnetUnreachable, match="Headscale answered 500: database is locked"):
            plane.mint("vessel")
        api.play(Answer(200, "<html>Sign in</html>"))
        with pytest.raises(TailnetUnreachable, match="Headscale answered, but not as its API does"):
            plane.devices()


def test_no_secret_is_in_a_message_or_a_log(
    api: planes.Headscale, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    with asking(api, api.token, patience=0.4) as plane:
        key = plane.mint("vessel")
        for fault in (cut(), broken(503), limited(60), api.refuse(401, "no"), torn()):
            api.always(fault)
            with pytest.raises(DrcError) as failed:
                plane.devices()
            texts += [failed.value.message, failed.value.hint]
            texts += traceback.format_exception(failed.value)
        texts += [caplog.text, repr(plane), repr(plane.web)]
    assert "again in" in caplog.text
    assert not [text for text in texts if api.token in text or key in text]
