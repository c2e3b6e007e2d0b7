"""The end of a vessel: what is taken away, what stays, and when its GPUs are free."""

import contextlib
import signal
import threading
from datetime import timedelta

import docker.errors
import pytest

from conductor import main
from conductor.work import Work
from tests.fleets import check_conservation
from tests.host.machine import Machine, run, until
from tests.host.world import Person, World


def volumes(world: World) -> set[str]:
    return {volume["Name"] for volume in world.machine.client.volumes()["Volumes"] or []}


def test_nothing_but_the_home_is_left(ada: Person, world: World):
    ada.stop(ada.create("before").shown["name"])  # the home is there from now on
    world.settle()
    before = volumes(world)
    vessel = ada.create("gone", gpus=1)
    assert volumes(world) > before
    shown = ada.stop("gone")
    assert shown["state"] == "buried"
    assert shown["reason"] == "stopped by its owner"
    until("its work is done", lambda: not world.sql("SELECT id FROM outbox"))
    assert not [c for c in world.ours("drc.vessel") if vessel.shown["id"] in str(c["Labels"])]
    assert volumes(world) == before
    assert not world.sql("SELECT number FROM berth WHERE vessel_id = %s", vessel.shown["id"])
    world.settle()
    assert not world.held()
    check_conservation(world.db)


def test_gpus_are_held_until_the_engine_says_that_the_container_is_absent(
    ada: Person, world: World, machine: Machine
):
    vessel = ada.create("held", gpus=2, gpu=["rtx3090"])
    mine = {gpu["uuid"] for gpu in vessel.shown["gpus"]}
    assert machine.dockerd is not None
    machine.dockerd.send_signal(signal.SIGSTOP)
    try:
        ada.call("POST", "/v1/vessels/held/stop")
        until("a conductor is at it", lambda: world.sql(
            "SELECT id FROM outbox WHERE verb = 'stop' AND claimed_by IS NOT NULL"))  # fmt: skip
        assert ada.show("held")["state"] == "stopping"
        assert world.held() == mine
        waiting = ada.ask("next", gpus=2, gpu=["rtx3090"])
        assert waiting["state"] == "queued"
    finally:
        machine.dockerd.send_signal(signal.SIGCONT)
    ada.reach("held", "buried")
    shown = ada.reach("next", "running")
    assert {gpu["uuid"] for gpu in shown["gpus"]} == mine


def test_one_that_died_while_it_was_removed_is_removed(ada: Person, world: World, machine: Machine):
    """As after a kill of the engine just then: Docker then gives no log of it any more."""
    vessel = ada.create("dead", gpus=1)
    folder = machine.data / "containers" / vessel.inspect()["Id"]
    (folder / "stays").touch()
    run("chattr", "+i", folder / "stays")
    try:
        with contextlib.suppress(docker.errors.APIError):
            machine.client.remove_container(vessel.container, force=True)
        assert vessel.inspect()["State"]["Dead"]
        with pytest.raises(docker.errors.APIError, match="dead or marked for removal"):
            machine.client.logs(vessel.container)
    finally:
        run("chattr", "-i", folder / "stays")
    assert ada.stop("dead")["state"] == "buried"
    assert not [c for c in world.ours("drc.vessel") if vessel.shown["id"] in str(c["Labels"])]


@pytest.mark.parametrize("step", ["image", "identity", "jupyter"])
def test_a_stop_while_it_starts_ends_it_and_leaves_nothing(
    ada: Person, world: World, monkeypatch: pytest.MonkeyPatch, step: str
):
    reached, go_on, begin = threading.Event(), threading.Event(), Work.begin

    def halting(work: Work, next_step: str) -> None:
        if work.name == "hasty" and next_step == step:
            reached.set()
            assert go_on.wait(20)
        begin(work, next_step)

    monkeypatch.setattr(Work, "begin", halting)
    created = ada.ask("hasty", gpus=1)
    assert reached.wait(20)
    ada.call("POST", "/v1/vessels/hasty/stop")
    go_on.set()
    assert ada.reach("hasty", "buried")["reason"] == "stopped by its owner"
    until("its work is done", lambda: not world.sql(
        "SELECT id FROM outbox WHERE vessel_id = %s", created["id"]))  # fmt: skip
    assert not world.ours(f"drc.vessel={created['id']}")
    assert not [name for name in volumes(world) if created["id"] in name]
    assert not world.held()
    check_conservation(world.db)


def test_a_start_that_fails_after_it_was_to_stop_is_stopped_without_waiting_for_its_lease(
    ada: Person, world: World, monkeypatch: pytest.MonkeyPatch
):
    reached, go_on, begin = threading.Event(), threading.Event(), Work.begin

    def halting(work: Work, next_step: str) -> None:
        begin(work, next_step)
        if next_step == "image":
            reached.set()
            assert go_on.wait(20)

    monkeypatch.setattr(Work, "begin", halting)
    monkeypatch.setattr(main, "LEASE", timedelta(hours=1))
    ada.ask("doomed", gpus=1, image="127.0.0.1:9/nobody/nothing:1")  # which cannot be had
    assert reached.wait(20)
    ada.call("POST", "/v1/vessels/doomed/stop")
    go_on.set()
    assert ada.reach("doomed", "buried")["reason"] == "stopped by its owner"
    assert not world.held()


def test_a_vessel_whose_container_ends_has_failed_and_its_gpus_are_free(ada: Person, world: World):
    vessel = ada.create("sunk", gpus=1)
    vessel.engine.kill(vessel.container)
    until("it has failed", lambda: ada.show("sunk")["state"] == "failed")
    assert ada.show("sunk")["reason"] == "Its container on gpu1 ended, with status 137."
    assert not world.held()
    assert not world.ours(f"drc.vessel={vessel.shown['id']}")
