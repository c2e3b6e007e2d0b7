"""Conductors and engines that die in the middle: another one takes it up, and nothing is double."""

import signal
import threading
from collections.abc import Iterator

import pytest

from conductor.start import STEPS
from conductor.work import Work
from drc.up.postgres import Postgres
from tests.fleets import check_conservation
from tests.host.machine import Machine, until
from tests.host.world import Person, Vessel, World, world_on


@pytest.fixture(scope="module")
def other(
    machine: Machine, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A second installation, whose conductors are processes, on the same machine."""
    with world_on(machine, postgres, "other", tmp_path_factory.mktemp("other"), 23000) as other:
        # both installations' homes lie on one engine, where a uid is one person
        other.sql("ALTER SEQUENCE owner_uid RESTART 30000")
        other.add_host(other.person("eve"))
        with other.conductor_process(berths=0):
            until("the host is open", lambda: other.host()["open"])
        yield other


@pytest.fixture
def eve(other: World) -> Iterator[Person]:
    """Somebody there, whose vessels end with the test."""
    yield other.person("eve")
    if other.sql("SELECT id FROM outbox") or other.living():  # the test failed
        let_leases_run_out(other)
        with other.conductor_process(berths=0):
            other.stop_everything()


def let_leases_run_out(world: World) -> None:
    """As half a minute would."""
    world.sql("UPDATE outbox SET lease_until = now() - interval '1 second'")


def events(person: Person, name: str) -> list[str]:
    return [event["kind"] for event in person.client.events(after="0-0", follow=False, vessel=name)]


@pytest.mark.parametrize(
    ("step", "berths"), [*((step, 0) for step in (*STEPS, "finish")), ("image", 1), ("ssh", 1)]
)
def test_a_start_whose_conductor_is_killed_is_taken_up_by_another(
    other: World, eve: Person, step: str, berths: int
):
    if berths:  # one waits for the vessel, as mostly
        other.add_host(eve)  # a look at the host makes berths at once
        with other.conductor_process(berths=1):
            until("a berth waits", lambda: other.waiting_berths() == 1)
    created = eve.ask(f"phoenix-{step}", gpus=1)
    name = created["name"]
    with other.conductor_process("tests.host.dying", step, berths=0) as dying:
        until("it is dead", lambda: dying.poll() is not None)
        assert dying.returncode == -signal.SIGKILL
    died_in = {"berth": ("reserved", "starting"), "finish": ("running",)}.get(step, ("starting",))
    assert eve.show(name)["state"] in died_in
    already = [c["Id"] for c in other.ours("drc.vessel") if c["State"] == "running"]
    assert bool(already) == (step in (*STEPS[STEPS.index("start") + 1 :], "finish"))
    let_leases_run_out(other)
    with other.conductor_process(berths=0):
        shown = eve.reach(name, "running")
        until("its work is done", lambda: not other.sql("SELECT id FROM outbox"))
        assert shown["attempt"] == 1
        vessel = Vessel(eve, shown)
        assert vessel.ssh("whoami") == "eve\n"
        (container,) = other.ours(f"drc.vessel={created['id']}")
        assert container["Names"] == [f"/{vessel.container}"]
        assert already in ([], [container["Id"]])  # one that runs is left to run
        assert other.sql("SELECT vessel_id::text AS id FROM berth") == [{"id": created["id"]}]
        assert len(other.ours("drc.berth")) == 1
        assert other.held() == {gpu["uuid"] for gpu in shown["gpus"]}
        told = events(eve, name)
        assert told.count("running") == 1
        assert "callback_refused" not in told
        check_conservation(other.db)
        eve.stop(name)
        until("its work is done", lambda: not other.sql("SELECT id FROM outbox"))
        assert not other.ours("drc.vessel")
        assert not other.ours("drc.berth")
        assert not other.held()


def test_a_stop_whose_conductor_was_killed_while_it_started_ends_it(other: World, eve: Person):
    created = eve.ask("brief", gpus=1)
    with other.conductor_process("tests.host.dying", "ssh", berths=0) as dying:
        until("it is dead", lambda: dying.poll() is not None)
    assert other.ours(f"drc.vessel={created['id']}")
    eve.call("POST", "/v1/vessels/brief/stop")
    assert len(other.held()) == 1
    let_leases_run_out(other)
    with other.conductor_process(berths=0):
        eve.reach("brief", "buried")
        until("its work is done", lambda: not other.sql("SELECT id FROM outbox"))
    assert not other.ours("drc.vessel")
    assert not other.ours("drc.berth")
    assert not other.held()


def test_a_conductor_whose_clock_is_ten_minutes_off_works_all_the_same(other: World, eve: Person):
    with other.conductor_process("tests.host.late", berths=0):
        assert eve.create("timeless", gpus=1).ssh("whoami") == "eve\n"
        eve.stop("timeless")
        until("its work is done", lambda: not other.sql("SELECT id FROM outbox"))


@pytest.mark.parametrize("step", ["container", "start", "jupyter"])
def test_an_engine_that_is_killed_and_comes_back_in_mid_start(
    ada: Person, world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch, step: str
):
    reached, go_on, begin = threading.Event(), threading.Event(), Work.begin

    def halting(work: Work, next_step: str) -> None:
        if next_step == step and work.tries == 1:
            reached.set()
            assert go_on.wait(60)
        begin(work, next_step)

    monkeypatch.setattr(Work, "begin", halting)
    created = ada.ask("shaken", gpus=1)
    assert reached.wait(30)
    machine.end_engine(signal.SIGKILL)
    machine.start_engine()
    go_on.set()
    until("it is up or has failed", lambda: ada.show("shaken")["state"] in ("running", "failed"))
    until("its work is done", lambda: not world.sql("SELECT id FROM outbox"))
    shown = ada.show("shaken")
    if shown["state"] == "running":
        vessel = Vessel(ada, shown)
        assert vessel.ssh("whoami") == "ada\n"
        assert len(world.ours(f"drc.vessel={created['id']}")) == 1
        assert len(world.held()) == 1
        ada.stop("shaken")
        until("its work is done", lambda: not world.sql("SELECT id FROM outbox"))
    assert not world.ours(f"drc.vessel={created['id']}")
    assert not world.held()
    check_conservation(world.db)
