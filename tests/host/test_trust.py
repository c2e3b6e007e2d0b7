"""A host that shows another key than it did: nothing is sent to it until somebody says so."""

import logging
from collections.abc import Callable, Iterator

import pytest

from conductor import watch
from drc.errors import NoSuchHost
from drc.sshkey import parse_public_key
from tests.fleets import check_conservation
from tests.host.machine import Machine, make_key, until
from tests.host.world import Person, World


@pytest.fixture
def changed(
    fleet: World, ida: Person, second: Machine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """Has the second machine show another host key. In the end it is trusted in any case."""
    monkeypatch.setattr(watch, "PATIENCE", 1.0)

    def change() -> None:
        second.make_host_key()
        second.end_sshd()
        second.start_sshd()

    yield change
    fleet.add_host(ida, second, name="gpu2")


def test_a_host_whose_key_changed_is_ill_until_the_new_key_is_trusted(
    fleet: World,
    ida: Person,
    second: Machine,
    changed: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    tmp_path,
):
    vessel = ida.create("aboard", host="gpu2", gpus=1)
    pinned = parse_public_key(second.host_key)
    said = second.log.stat().st_size
    changed()
    shown = parse_public_key(second.host_key)
    until("it is ill", lambda: fleet.host("gpu2")["ill"])
    sentence = (
        f"gpu2 shows another host key, {shown.fingerprint}, than the pinned {pinned.fingerprint}. "
        "Nothing is sent to it."
    )
    host = fleet.host("gpu2")
    assert host["ill"] == sentence
    assert not host["open"]
    assert host["shown_host_key"] == shown.line
    assert host["ssh_host_key"] == pinned.line
    assert ida.reach("aboard", "unreachable")["gpus"] == vessel.shown["gpus"]
    assert ida.ask("waits", gpus=1, gpu=["a6000"])["state"] == "queued"
    ida.call("POST", "/v1/vessels/waits/stop")

    def loud() -> list[str]:
        """What the conductor called an error: once for each time that it looked."""
        ours = [r for r in caplog.records if r.name.startswith("conductor")]
        return [r.message for r in ours if r.levelno >= logging.ERROR]

    until("it was looked at again", lambda: len(loud()) > 3)
    assert set(loud()) == {sentence}
    other = parse_public_key(make_key(tmp_path / "other")).line
    with pytest.raises(NoSuchHost, match="gpu2 did not show that key"):
        ida.call("POST", "/v1/hosts/gpu2/trust", {"ssh_host_key": other})
    logged = second.log.read_bytes()[said:].decode()
    assert "[preauth]" in logged
    assert "publickey" not in logged  # sshd at this log level names every key that is offered

    ida.call("POST", "/v1/hosts/gpu2/trust", {"ssh_host_key": shown.line})
    until("it is open", lambda: fleet.host("gpu2")["open"])
    ida.reach("aboard", "running")
    assert vessel.ssh("echo", "alive") == "alive\n"
    host = fleet.host("gpu2")
    assert (host["ill"], host["ssh_host_key"]) == (None, shown.line)
    ida.create("ashore", host="gpu2", gpus=3)
    check_conservation(fleet.db)


def test_a_stop_waits_for_a_host_whose_key_changed(
    fleet: World, ida: Person, second: Machine, changed: Callable[[], None]
):
    ida.create("doomed", host="gpu2", gpus=2)
    changed()
    until("it is ill", lambda: fleet.host("gpu2")["ill"])
    ida.call("POST", "/v1/vessels/doomed/stop")
    assert ida.show("doomed")["state"] == "stopping"
    assert len(fleet.held()) == 2
    key = fleet.host("gpu2")["shown_host_key"]
    ida.call("POST", "/v1/hosts/gpu2/trust", {"ssh_host_key": key})
    ida.reach("doomed", "buried", seconds=60)
    assert not fleet.held()
    assert not fleet.ours("drc.vessel", second)
