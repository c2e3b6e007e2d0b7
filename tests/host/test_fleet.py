"""Two hosts: what the second one gets, where vessels come to be, and how a host leaves."""

import time
from typing import Any

import pytest

from conductor import watch
from conductor.host import Host
from conductor.main import Conductor
from conductor.wanted import Names
from drc.config import DEFAULT_IMAGE, NET_IMAGE
from drc.errors import NoSuchHost, WrongState
from tests.fleets import check_conservation
from tests.host.machine import BRIDGED, BRIDGES, Machine, until
from tests.host.world import Person, Vessel, World

A6000 = [f"GPU-5a6f1d0c-0000-4000-8000-00000000001{n}" for n in range(4)]


def uuids(shown: dict[str, Any]) -> list[str]:
    return [gpu["uuid"] for gpu in shown["gpus"]]


def ours_on(fleet: World, machine: Machine) -> list[str]:
    """What drc made on a machine, but for homes and images."""
    names = Names(fleet.installation())
    label = {"label": f"drc.installation={fleet.installation()}"}
    containers = machine.client.containers(all=True, filters=label)
    volumes = machine.client.volumes(filters=label)["Volumes"] or []
    networks = [n for n in machine.client.networks() if n["Name"] == names.network]
    return [
        *(container["Names"][0] for container in containers),
        *(volume["Name"] for volume in volumes),
        *(network["Name"] for network in networks),
    ]


def leave(fleet: World, ida: Person) -> None:
    """Take gpu2 out, and wait until it is."""
    ida.call("DELETE", "/v1/hosts/gpu2")

    def gone() -> bool:
        return not [row for row in ida.call("GET", "/v1/hosts") if row["name"] == "gpu2"]

    until("it has left", gone)


def test_drcs_own_images_come_from_the_other_host_and_from_no_registry(
    fleet: World, ida: Person, machine: Machine, second: Machine
):
    for image in (NET_IMAGE, DEFAULT_IMAGE):
        ids = {each.client.inspect_image(image)["Id"] for each in (machine, second)}
        assert len(ids) == 1
    told = second.client.events(
        since=0, until=int(time.time()) + 1, filters={"type": "image"}, decode=True
    )
    actions = {event["Action"] for event in told if "drc-trial" not in str(event)}
    assert "load" in actions
    assert "pull" not in actions
    assert "/images/create" not in second.log.read_text()  # as the engine calls a pull that failed


def test_vessels_start_on_each_host_and_get_what_fits_best(
    ida: Person, machine: Machine, second: Machine
):
    wishes: dict[str, dict[str, Any]] = {
        "least": {"gpus": 1},  # the card with the least memory
        "large": {"gpus": 2, "gpu_memory": "40GB"},  # two that are bridged, of the smaller ones
        "named": {"gpus": 1, "gpu": ["a100"]},
    }
    for name, wish in wishes.items():
        ida.ask(name, **wish)
    vessels = {name: Vessel(ida, ida.reach(name, "running", seconds=60)) for name in wishes}
    hosts = {name: vessel.shown["host"] for name, vessel in vessels.items()}
    assert hosts == {"least": "gpu1", "large": "gpu2", "named": "gpu1"}
    models = {name: vessel.shown["gpus"][0]["model"] for name, vessel in vessels.items()}
    assert models == {"least": "rtx3090", "large": "a6000", "named": "a100"}
    assert uuids(vessels["large"].shown) in ([A6000[0], A6000[2]], [A6000[1], A6000[3]])
    for vessel in vessels.values():
        (request,) = vessel.inspect()["HostConfig"]["DeviceRequests"]
        assert request["DeviceIDs"] == uuids(vessel.shown)
        assert vessel.ssh("hostname").startswith(f"{vessel.shown['host']}-")
    assert vessels["least"].shown["ssh"]["address"] == machine.address
    assert vessels["large"].shown["ssh"]["address"] == second.address


def test_what_fits_nowhere_waits_and_starts_where_something_becomes_free(fleet: World, ida: Person):
    ida.ask("left", gpus=2, gpu=["a100"])
    ida.ask("right", gpus=2, gpu=["rtx3090"])
    ida.ask("far", gpus=4, gpu=["a6000"])
    assert ida.ask("late", gpus=1)["state"] == "queued"
    assert ida.show("late")["position"] == 1
    for name in ("left", "right", "far"):
        ida.reach(name, "running", seconds=60)
    assert len(fleet.held()) == 8
    assert ida.show("late")["state"] == "queued"
    ida.stop("far")
    vessel = Vessel(ida, ida.reach("late", "running"))
    assert vessel.shown["host"] == "gpu2"
    assert vessel.ssh("whoami") == "ida\n"
    assert len(fleet.held()) == 5
    check_conservation(fleet.db)


def test_a_host_that_is_drained_ends_its_vessels_and_gets_no_others(fleet: World, ida: Person):
    ida.create("stays", host="gpu1")
    ida.create("goes", host="gpu2", gpus=1)
    drained = ida.call("POST", "/v1/hosts/gpu2/drain")
    assert [vessel["name"] for vessel in drained["vessels"]] == ["goes"]
    assert ida.reach("goes", "buried")["reason"].startswith("gpu2 is drained (")
    assert ida.show("stays")["state"] == "running"
    waiting = ida.ask("waits", gpus=1, gpu=["a6000"])
    assert waiting["state"] == "queued"
    ida.call("POST", "/v1/hosts/gpu2/uncordon")
    assert ida.reach("waits", "running")["host"] == "gpu2"


def test_of_a_host_that_leaves_only_homes_and_images_stay_and_it_may_come_again(
    fleet: World, ida: Person, second: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watch, "PAUSE", 0.05)  # somebody looks at it all the while
    vessel = ida.create("before", host="gpu2", gpus=1)
    vessel.ssh("echo kept > notes")
    home = vessel.home()["Name"]
    with pytest.raises(WrongState, match=r"gpu2 has 1 vessel\."):
        ida.call("DELETE", "/v1/hosts/gpu2")
    ida.stop("before")
    until("berths wait", lambda: fleet.ours("drc.berth", second))
    with fleet.conducting():  # one conductor takes away what another must not make again
        leave(fleet, ida)
    assert ours_on(fleet, second) == []
    assert [volume["Name"] for volume in second.client.volumes()["Volumes"]] == [home]
    assert second.client.inspect_image(DEFAULT_IMAGE)
    assert {gpu["host"] for gpu in fleet.gpus()} == {"gpu1"}
    with pytest.raises(NoSuchHost):
        ida.ask("nowhere", host="gpu2")
    fleet.add_host(ida, second, name="gpu2")
    until("it is open", lambda: fleet.host("gpu2")["open"])
    assert {gpu["uuid"] for gpu in fleet.host("gpu2")["gpus"]} == set(A6000)
    assert ida.create("after", host="gpu2", gpus=4).ssh("cat", "notes") == "kept\n"
    check_conservation(fleet.db)


def test_a_host_that_nobody_said_yes_to_is_left_as_it_was(
    fleet: World, ida: Person, second: Machine, monkeypatch: pytest.MonkeyPatch
):
    looks, look = list[str](), watch.look

    def counted(conductor: Conductor, host: Host) -> None:
        look(conductor, host)
        looks.append(host.name)

    leave(fleet, ida)
    monkeypatch.setattr(watch, "look", counted)
    fleet.add_host(ida, second, name="gpu2", committed=False)
    until("it was looked at", lambda: looks.count("gpu2") >= 3)
    assert fleet.host("gpu2")["probed"]
    assert ours_on(fleet, second) == []
    ida.call("DELETE", "/v1/hosts/gpu2")
    fleet.add_host(ida, second, name="gpu2")
    until("it is open", lambda: fleet.host("gpu2")["open"])


def test_a_machine_that_is_there_already_is_not_taken_again_and_loses_no_vessel(
    fleet: World, ida: Person, second: Machine
):
    """Its GPUs would tell; this one has none that work just now."""
    vessel = ida.create("only", host="gpu2")
    second.set_cards(None)
    try:
        path = f"{second.folder}/./docker.sock"
        fleet.add_host(ida, second, name="twin", docker_socket=path, committed=False)
        until("it is ill", lambda: fleet.host("twin")["ill"])
        assert fleet.host("twin")["ill"] == "twin is gpu2 by another name."
        assert ida.show("only")["state"] == "running"
        assert vessel.ssh("echo", "alive") == "alive\n"
    finally:
        second.set_cards(BRIDGED, topology=BRIDGES)
        ida.call("DELETE", "/v1/hosts/twin")
