"""A host that shows another key than it did: nothing is sent to it until somebody says so."""

import logging

import pytest

from conductor import watch
from drc.errors import NoSuchHost
from drc.sshkey import parse_public_key
from tests.fleets import check_conservation
from tests.host.machine import Machine, make_key, until
from tests.host.world import Person, World


def test_a_host_whose_key_changed_is_ill_until_the_new_key_is_trusted(
    fleet: World,
    ida: Person,
    second: Machine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path,
):
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    vessel = ida.create("aboard", host="gpu2", gpus=1)
    pinned = parse_public_key(second.host_key)
    second.make_host_key()
    shown = parse_public_key(second.host_key)
    second.end_sshd()
    said = second.log.stat().st_size
    second.start_sshd()

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
    loud = {
        r.message
        for r in caplog.records
        if r.levelno == logging.ERROR and r.name[:9] == "conductor"
    }
    assert loud == {sentence}
    assert ida.reach("aboard", "unreachable")["gpus"] == vessel.shown["gpus"]
    assert ida.ask("waits", gpus=1, gpu=["a6000"])["state"] == "queued"
    ida.call("POST", "/v1/vessels/waits/stop")
    # somebody who may be in between is told no secret, and no other key is pinned for asking
    ida.call("POST", "/v1/hosts/gpu2/probe")
    until("it was looked at again", lambda: fleet.sql(
        "SELECT id FROM outbox WHERE verb = 'probe' AND tries > 1"))  # fmt: skip
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
    fleet: World, ida: Person, second: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    ida.create("doomed", host="gpu2", gpus=2)
    second.make_host_key()
    second.end_sshd()
    second.start_sshd()
    until("it is ill", lambda: fleet.host("gpu2")["ill"])
    ida.call("POST", "/v1/vessels/doomed/stop")
    assert ida.show("doomed")["state"] == "stopping"
    assert len(fleet.held()) == 2
    key = fleet.host("gpu2")["shown_host_key"]
    ida.call("POST", "/v1/hosts/gpu2/trust", {"ssh_host_key": key})
    ida.reach("doomed", "buried", seconds=60)
    assert not fleet.held()
    assert not fleet.ours("drc.vessel", second)
