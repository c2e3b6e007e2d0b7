"""A host as the conductor meets it: its key, its silence, its end."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from conductor import berths, watch
from conductor.host import Door, Host, load_key
from conductor.wanted import Names
from drc.errors import HostUnreachable
from drc.sshkey import parse_public_key
from tests.host.machine import CARDS, Machine, make_key, until
from tests.host.world import Person, World


def elsewhere(machine: Machine) -> dict[str, str]:
    """The same engine by another path: two hosts cannot be at one address, port and socket."""
    return {"docker_socket": f"{machine.folder}/./docker.sock"}


def test_a_host_that_is_added_is_looked_at_and_its_gpus_appear(world: World):
    shown = [
        (gpu["uuid"], gpu["idx"], gpu["model"], gpu["memory_mib"], gpu["simulated"])
        for gpu in world.sql("SELECT uuid, idx, model, memory_mib, simulated FROM gpu ORDER BY idx")
    ]
    assert shown == [
        (f"GPU-5a6f1d0c-0000-4000-8000-00000000000{n}", n, model, mib, False)
        for n, (model, mib) in enumerate(
            [("a100", 81920), ("a100", 81920), ("rtx3090", 24576), ("rtx3090", 24576)]
        )
    ]
    names = {gpu["name"] for gpu in world.gpus()}
    assert names == {"NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 3090"}
    host = world.host()
    assert host["open"]
    assert not host["ill"]
    assert host["n_gpus"] == 4


def test_an_ill_host_says_so_and_is_well_again_after_another_look(
    world: World, machine: Machine, ada: Person
):
    machine.set_cards("NVIDIA-SMI has failed because it couldn't communicate\n", status=9)
    try:
        world.add_host(ada)
        until("it is ill", lambda: world.host()["ill"])
        assert "nvidia-smi on gpu1 failed (9): NVIDIA-SMI has failed" in world.host()["ill"]
    finally:
        machine.set_cards(CARDS)
        world.add_host(ada)
    until("it is well", lambda: not world.host()["ill"])


def test_a_host_that_is_not_trusted_yet_only_shows_its_key(
    world: World, machine: Machine, ada: Person
):
    said = machine.log.stat().st_size
    world.add_host(ada, name="gpu2", **elsewhere(machine), ssh_host_key=None, committed=False)
    until("it shows its key", lambda: world.host("gpu2")["shown_host_key"])
    assert world.host("gpu2")["shown_host_key"] == parse_public_key(machine.host_key).line
    until("the look is over", lambda: not world.sql("SELECT id FROM outbox WHERE verb = 'probe'"))
    assert not world.host("gpu2")["probed"]
    assert "publickey" not in machine.log.read_text()[said:]
    ada.call("DELETE", "/v1/hosts/gpu2")


def test_a_fingerprint_that_was_named_is_compared_before_anything_is_sent(
    world: World, machine: Machine, ada: Person, tmp_path
):
    said = machine.log.stat().st_size
    other = parse_public_key(make_key(tmp_path / "other")).fingerprint
    world.add_host(ada, name="gpu2", **elsewhere(machine), ssh_host_key=other, committed=False)
    until("it is ill", lambda: world.host("gpu2")["ill"])
    shown = parse_public_key(machine.host_key).fingerprint
    assert world.host("gpu2")["ill"] == (
        f"gpu2 shows the host key {shown}, not {other}. Nothing was sent to it."
    )
    assert "publickey" not in machine.log.read_text()[said:]
    ada.call("DELETE", "/v1/hosts/gpu2")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"ssh_address": "no-such-host.invalid"}, "does not resolve where the conductor runs"),
        ({"ssh_port": 1}, "gpu2 does not answer at"),
        (
            {"docker_socket": "/run/none.sock"},
            "Docker on gpu2 does not answer: nothing listens at /run/none.sock",
        ),
        ({"ssh_user": "nobody"}, "gpu2 refused us"),
        ({}, "The GPU GPU-5a6f1d0c-0000-4000-8000-000000000000 is in another host already"),
    ],
)
def test_a_host_that_cannot_be_taken_says_why(
    world: World, machine: Machine, ada: Person, where: dict[str, object], expected: str
):
    world.add_host(ada, **{"name": "gpu2", "committed": False, **elsewhere(machine), **where})
    until("it is ill", lambda: world.host("gpu2")["ill"])
    assert expected in world.host("gpu2")["ill"]
    ada.call("DELETE", "/v1/hosts/gpu2")


def test_another_host_key_than_the_pinned_one_ends_it_before_anything_is_sent(
    machine: Machine, door: Door, tmp_path
):
    pinned = parse_public_key(make_key(tmp_path / "other"))
    shown = parse_public_key(machine.host_key)
    host = Host(
        dataclasses.replace(door, ssh_host_key=pinned.line),
        load_key(machine.key),
    )
    said = machine.log.stat().st_size
    with pytest.raises(HostUnreachable) as failed:
        host.connection()
    assert shown.fingerprint in failed.value.message
    assert pinned.fingerprint in failed.value.message
    assert failed.value.message.endswith("Nothing is sent to it.")

    def logged() -> str:
        return machine.log.read_bytes()[said:].decode()

    until("sshd saw it go", lambda: "[preauth]" in logged())
    assert "publickey" not in logged()  # sshd at this log level names every key that is offered
    assert "user root" not in logged()


def test_a_key_that_the_host_does_not_know_is_refused(machine: Machine, door: Door, tmp_path):
    make_key(tmp_path / "stranger")
    host = Host(door, load_key(tmp_path / "stranger"))
    with pytest.raises(HostUnreachable, match="gpu1 refused us"):
        host.connection()


def test_the_conductors_key_opens_no_terminal_on_the_host(host: Host):
    channel = host.connection().open_session()
    with pytest.raises(Exception, match=r"Channel closed|request denied"):
        channel.get_pty()
    channel.close()


def test_a_silent_host_keeps_its_gpus_held_and_its_vessels_come_back(
    world: World, machine: Machine, ada: Person, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    monkeypatch.setattr(watch, "AVOIDED", 0.5)
    vessel = ada.create("castaway", gpus=2)
    mine = {gpu["uuid"] for gpu in vessel.shown["gpus"]}
    machine.end_sshd()
    try:
        shown = ada.reach("castaway", "unreachable")
        assert {gpu["uuid"] for gpu in shown["gpus"]} == mine
        assert world.held() == mine
        ada.call("GET", "/v1/vessels/castaway/logs")  # what there is, without asking the host
    finally:
        machine.start_sshd()
    ada.reach("castaway", "running")
    assert world.held() == mine
    assert vessel.ssh("echo", "alive") == "alive\n"


def test_a_stop_on_a_silent_host_waits_for_it_and_holds_the_gpus(
    world: World, machine: Machine, ada: Person, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    monkeypatch.setattr(watch, "AVOIDED", 0.5)
    ada.create("patient", gpus=1)
    machine.end_sshd()
    try:
        ada.reach("patient", "unreachable")
        ada.call("POST", "/v1/vessels/patient/stop")
        assert world.conductor is not None
        before = dict(world.conductor.silent_until)
        until("it was looked for again", lambda: world.conductor.silent_until != before)
        assert ada.show("patient")["state"] == "stopping"
        assert len(world.held()) == 1
    finally:
        machine.start_sshd()
    ada.reach("patient", "buried", seconds=60)
    assert not world.held()


def test_conductors_that_meet_on_a_new_host_make_one_network(
    world: World, machine: Machine, door: Door
):
    names = Names("race0000-of-conductors")
    key = load_key(machine.key)
    hosts = [Host(door, key) for _ in range(6)]
    for host in hosts:
        host.docker()  # connected beforehand, so that they begin together
    start = threading.Barrier(len(hosts))

    def ensure(host: Host) -> None:
        start.wait(20)
        berths._ensure_network(host, names)

    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(ensure, hosts))
    made = [n for n in machine.client.networks() if n["Name"] == names.network]
    for host in hosts:
        host.close()
    for network in made:
        machine.client.remove_network(network["Id"])
    assert len(made) == 1
    assert made[0]["Options"] == {"com.docker.network.bridge.enable_icc": "false"}
