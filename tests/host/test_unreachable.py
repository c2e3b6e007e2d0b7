"""A host that cannot be reached for a while, and what may have become of it when it is back."""

import contextlib
import time

import docker.errors
import pytest

from conductor import host as hosts
from conductor import main, watch
from tests.fleets import check_conservation
from tests.host.machine import Machine, until
from tests.host.world import Person, Vessel, World


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    monkeypatch.setattr(watch, "AVOIDED", 0.2)
    monkeypatch.setattr(hosts, "CONNECT_TIMEOUT", 1.0)
    monkeypatch.setattr(hosts, "UNANSWERED", 2)


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "LEASE", main.timedelta(seconds=2))
    monkeypatch.setattr(main, "RENEWAL", 0.5)


def lost(ida: Person, name: str) -> bool:
    return ida.show(name)["state"] == "unreachable"


def test_a_cut_for_a_moment_in_mid_start_is_made_good(fleet: World, ida: Person, second: Machine):
    ida.ask("brief", host="gpu2", gpus=1)
    until("it starts", lambda: ida.show("brief")["state"] == "starting")
    with second.cut_off():
        time.sleep(1)  # which is the cut itself, and nothing is waited for
    vessel = Vessel(ida, ida.reach("brief", "running", seconds=60))
    assert vessel.ssh("echo", "alive") == "alive\n"
    assert len(fleet.ours(f"drc.vessel={vessel.shown['id']}", second)) == 1
    check_conservation(fleet.db)


def test_a_cut_that_outlasts_the_lease_loses_nothing(
    fleet: World, ida: Person, second: Machine, short_leases: None
):
    vessel = ida.create("there", host="gpu2", gpus=2)
    held = fleet.held()
    vessel.ssh("echo kept > /tmp/notes")
    ida.ask("coming", host="gpu2", gpus=1)
    until("it starts", lambda: ida.show("coming")["state"] in ("starting", "running"))
    with second.cut_off():
        until("it is lost", lambda: lost(ida, "there"), 60)
        assert held <= fleet.held()  # nothing is given to others meanwhile
        time.sleep(main.LEASE.total_seconds() * 2)
        assert ida.create("here", host="gpu1").ssh("echo", "alive") == "alive\n"
    ida.reach("there", "running", seconds=60)
    assert vessel.ssh("cat", "/tmp/notes") == "kept\n"
    ida.reach("coming", "running", seconds=60)
    check_conservation(fleet.db)


def test_a_stop_of_a_vessel_on_a_dead_host_gives_its_gpus_back_only_when_it_is_back(
    fleet: World, ida: Person, second: Machine
):
    ida.create("there", host="gpu2", gpus=2)
    with second.cut_off():
        until("it is lost", lambda: lost(ida, "there"), 60)
        ida.call("POST", "/v1/vessels/there/stop")
        time.sleep(1)
        assert ida.show("there")["state"] == "stopping"
        assert len(fleet.held()) == 2
    until("it is gone", lambda: ida.show("there")["state"] == "buried", 60)
    assert not fleet.held()
    check_conservation(fleet.db)


def test_a_host_that_is_back_without_its_containers_has_no_such_vessels(
    fleet: World, ida: Person, second: Machine
):
    vessel = ida.create("there", host="gpu2", gpus=2)
    with second.cut_off():
        until("it is lost", lambda: lost(ida, "there"), 60)
        for container in fleet.ours("drc.vessel", second):
            with contextlib.suppress(docker.errors.NotFound):
                second.client.remove_container(container["Id"], force=True)
    until("it failed", lambda: ida.show("there")["state"] == "failed", 60)
    assert ida.show("there")["reason"] == "Its container on gpu2 is gone."
    until("its work is done", lambda: not fleet.sql("SELECT id FROM outbox"), 60)
    assert not fleet.held()
    assert vessel.shown["ssh"]["port"] not in second.published()
    check_conservation(fleet.db)


def test_a_host_that_was_rebooted_while_nobody_could_reach_it(
    fleet: World, ida: Person, second: Machine
):
    vessel = ida.create("there", host="gpu2", gpus=2)
    vessel.ssh("echo kept > notes")
    with second.cut_off():
        until("it is lost", lambda: lost(ida, "there"), 60)
        second.reboot(reached=False)
    ida.reach("there", "running", seconds=60)
    assert vessel.ssh("cat", "notes") == "kept\n"
    check_conservation(fleet.db)


def test_an_engine_without_room_for_a_container_says_so_and_nothing_is_held(
    fleet: World, ida: Person, second: Machine, monkeypatch: pytest.MonkeyPatch
):
    assert fleet.conductor
    monkeypatch.setattr(fleet.conductor, "waiting_berths", 0)
    for host in fleet.conductor.hosts.values():
        with host.refilling:  # and nobody makes one any more
            pass
    for container in fleet.ours("drc.berth", second):
        second.client.remove_container(container["Id"], force=True)
    with second.full_disk():
        ida.ask("fat", host="gpu2", gpus=1)
        until("it failed", lambda: ida.show("fat")["state"] == "failed", 60)
        assert "no space left on device" in ida.show("fat")["reason"]
        until("its work is done", lambda: not fleet.held(), 60)
    assert ida.create("thin", host="gpu2", gpus=1).ssh("echo", "alive") == "alive\n"
    check_conservation(fleet.db)
