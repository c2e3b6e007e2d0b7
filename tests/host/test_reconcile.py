"""The round over a host: what is left over goes, what a reboot ended comes back, others stay."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from conductor import reconcile, watch
from drc.config import NET_IMAGE
from tests.fleets import check_conservation
from tests.host.machine import CARDS, Machine, until
from tests.host.world import Person, World


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole rounds at each look."""
    monkeypatch.setattr(watch, "ROUND", 0.0)


@pytest.fixture
def ended(ada: Person) -> str:
    """The id of a vessel that has ended."""
    id = ada.create("old").shown["id"]
    ada.stop("old")
    return id


@pytest.fixture
def container(machine: Machine) -> Iterator[Any]:
    """Makes a container with these labels, which runs."""
    made: list[str] = []

    def make(name: str, **labels: str) -> str:
        id = machine.client.create_container_from_config(
            {
                "Image": NET_IMAGE,
                "Entrypoint": ["sleep", "infinity"],
                "Labels": {key.replace("_", "."): value for key, value in labels.items()},
                "HostConfig": {"NetworkMode": "none"},
            },
            name,
        )["Id"]
        made.append(id)
        machine.client.start(id)
        return id

    yield make
    for id in set(made) & names(machine):
        machine.client.remove_container(id, force=True)


def names(machine: Machine) -> set[str]:
    """The ids of the containers there."""
    return {found["Id"] for found in machine.client.containers(all=True)}


def volumes(machine: Machine) -> set[str]:
    return {volume["Name"] for volume in machine.client.volumes()["Volumes"] or []}


def metrics(person: Person) -> str:
    return person.client.http.get("/v1/metrics", headers=person.client._auth()).text


def mended(world: World) -> dict[str, int]:
    return {row["what"]: row["n"] for row in world.sql("SELECT what, n FROM mended")}


def test_leftovers_go_and_what_is_not_ours_stays(
    world: World, ada: Person, machine: Machine, ended: str, container: Any,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    ours = world.installation()
    vessel = ada.create("bert", gpus=1)
    before = mended(world)
    living = {"drc_installation": ours, "drc_vessel": vessel.shown["id"]}
    with caplog.at_level(logging.INFO, logger="conductor"):
        over = {
            container("after-the-end", drc_installation=ours, drc_vessel=ended, drc_attempt="1"),
            container("older-attempt", **living, drc_attempt="0"),
            container("no-row", drc_installation=ours, drc_berth="999"),
        }
        volume = f"drc-run-{ended}-1"
        labels = {"drc.installation": ours, "drc.vessel": ended}
        machine.client.create_volume(volume, labels=labels)
        others = {
            container("of-another", drc_installation="x", drc_vessel=ended, drc_attempt="1"),
            container("of-another-too", drc_installation="x", drc_berth="999"),
            container("of-nobody"),
            container("of-books-that-were-lost", drc_installation=ours, drc_attempt="1",
                      drc_vessel="00000000-0000-4000-8000-000000000000"),
        }  # fmt: skip
        machine.client.create_volume("drc-run-of-another", labels={"drc.installation": "x"})
        until("they are gone", lambda: not over & names(machine) and volume not in volumes(machine))
        until("it is told", lambda: mended(world).get("volume", 0) > before.get("volume", 0))
    assert others <= names(machine)
    assert "drc-run-of-another" in volumes(machine)
    machine.client.remove_volume("drc-run-of-another")
    assert vessel.ssh("echo", "alive") == "alive\n"
    after = mended(world)
    assert after["container"] - before.get("container", 0) == 2
    assert after["berth"] - before.get("berth", 0) == 1
    text = metrics(ada)
    assert f'drc_mended_total{{what="container"}} {float(after["container"])}' in text
    lines = [r.message for r in caplog.records if r.message.startswith("gpu1: mended")]
    assert 1 <= len(lines) <= 4  # a round that finds nothing says nothing
    check_conservation(world.db)


def test_after_a_reboot_vessels_are_started_again_where_and_as_they_were(
    world: World, ada: Person, machine: Machine
):
    vessels = [ada.create("bert", gpus=2, gpu=["a100"]), ada.create("plain")]
    for vessel in vessels:
        vessel.ssh("echo kept > notes; echo kept | sudo tee /opt/notes")
    held = world.held()
    machine.reboot()
    for vessel in vessels:
        until("it is entered again", lambda v=vessel: v.lets_in(ada.key), 60)
        shown = ada.reach(vessel.shown["name"], "running")
        assert shown["ssh"] == vessel.shown["ssh"]
        assert shown["attempt"] == 1
        assert vessel.ssh("cat notes /opt/notes") == "kept\nkept\n"
        rules = vessel.exec("iptables", "-S", "OUTPUT", container=vessel.berth()["Id"])[1]
        assert "169.254.0.0/16" in rules
        told = list(ada.client.events(after="0-0", follow=False, vessel=shown["name"]))
        assert told[-1]["kind"] == "running"
        assert told[-1]["reason"] == "gpu1 was restarted"
    assert world.held() == held
    check_conservation(world.db)


def test_one_that_cannot_be_started_again_has_failed_in_the_end(
    world: World, ada: Person, machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    vessel = ada.create("blind", gpus=1)
    monkeypatch.setattr(reconcile, "REVIVALS", 2)
    machine.end_engine()
    machine.start_engine(gpus=False)  # as where an update took its driver away
    try:
        until("it failed", lambda: ada.show("blind")["state"] == "failed")
        reason = ada.show("blind")["reason"]
        assert reason.startswith("gpu1 was restarted, and it could not be started again: ")
        until("its work is done", lambda: not world.sql("SELECT id FROM outbox"))
        assert not world.ours(f"drc.vessel={vessel.shown['id']}")
        assert not world.held()
        check_conservation(world.db)
    finally:
        machine.end_engine()
        machine.start_engine()


def test_a_vessel_whose_container_was_taken_away_has_failed(
    world: World, ada: Person, machine: Machine
):
    vessel = ada.create("ghost", gpus=1)
    before = mended(world).get("ghost", 0)
    machine.client.remove_container(vessel.container, force=True)
    until("it failed", lambda: ada.show("ghost")["state"] == "failed")
    assert not world.held()
    until("it is told", lambda: mended(world).get("ghost", 0) == before + 1)


def test_processes_on_a_gpu_that_are_in_no_vessel_are_told(
    world: World, ada: Person, machine: Machine, container: Any
):
    vessel = ada.create("bert", gpus=1, gpu=["rtx3090"])
    (gpu,) = vessel.shown["gpus"]
    mine = vessel.inspect()["State"]["Pid"]
    plain = container("plain")
    foreign = machine.client.inspect_container(plain)["State"]["Pid"]
    machine.set_processes(
        f"{gpu['uuid']}, {mine}, python, 4096",
        f"{gpu['uuid']}, {foreign}, /usr/bin/miner, 11000",
        f"{gpu['uuid']}, 4194000, gone, [N/A]",
    )
    try:
        until("they are told", lambda: len(world.host()["strangers"]) == 2)
        miner, gone = world.host()["strangers"]
        assert miner == {
            "gpu": gpu["uuid"], "pid": foreign, "program": "/usr/bin/miner", "memory_mib": 11000,
            "container": plain[:12],
        }  # fmt: skip
        assert (gone["program"], gone["memory_mib"], gone["container"]) == ("gone", None, None)
        told = list(ada.client.events(after="0-0", follow=False, vessel="bert"))
        assert [e["pid"] for e in told if e["kind"] == "stranger"] == [foreign, 4194000]
        assert 'drc_strangers{host="gpu1"} 2.0' in metrics(ada)
    finally:
        machine.set_processes()
    until("they are gone", lambda: not world.host()["strangers"])


def test_cards_that_come_and_go_are_noticed_without_anybody_asking(
    world: World, ada: Person, machine: Machine
):
    few = "".join(line + "\n" for line in CARDS.splitlines()[:3])
    machine.set_cards(few)
    try:
        until("one is ill", lambda: world.host()["gpus_ill"] == 1)
    finally:
        machine.set_cards()
    until("all are well", lambda: world.host()["gpus_ill"] == 0)
    until("its work is done", lambda: not world.sql("SELECT id FROM outbox"))
