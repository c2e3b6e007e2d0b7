"""A host that is slow, stuck or half dead: it holds up itself, and no other."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from conductor import host as hosts
from conductor import main, watch
from tests.fleets import check_conservation
from tests.host.machine import Machine, until
from tests.host.world import Person, Vessel, World


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    monkeypatch.setattr(watch, "AVOIDED", 0.5)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that says nothing is given up soon, and soon for good. Before the conductor."""
    monkeypatch.setattr(hosts, "ENGINE_TIMEOUT", 2)
    monkeypatch.setattr(main, "START_TRIES", 2)


@pytest.fixture
def cramped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conductor with few hands."""
    monkeypatch.setattr(main, "WORKERS", 5)
    monkeypatch.setattr(main, "PER_HOST", 3)


@pytest.fixture
def forgotten_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "UNANSWERED", 3)


def in_hand(fleet: World) -> list[dict[str, Any]]:
    """The work for the second host that a conductor has in hand."""
    return fleet.sql(
        "SELECT verb, tries FROM outbox JOIN host ON host.id = host_id "
        "WHERE host.name = 'gpu2' AND host.removed_at IS NULL AND claimed_by IS NOT NULL"
    )


@pytest.mark.parametrize("what", ["engine", "sshd"])
def test_a_stuck_host_holds_up_no_other_and_goes_on_when_it_can(
    fleet: World, ida: Person, second: Machine, what: str
):
    with second.stuck(what):
        ida.ask("there", host="gpu2", gpus=1)
        here = ida.create("here", host="gpu1", gpus=1)
        assert here.ssh("echo", "alive") == "alive\n"
        ida.stop("here")
        assert ida.show("there")["state"] in ("reserved", "starting")
        assert len(fleet.held()) == 1
    there = Vessel(ida, ida.reach("there", "running", seconds=90))
    assert there.ssh("echo", "alive") == "alive\n"
    check_conservation(fleet.db)


def test_a_start_on_a_stuck_host_is_tried_again(
    fleet: World, hurried: None, ida: Person, second: Machine
):
    with second.stuck("engine"):
        ida.ask("again", host="gpu2", gpus=1)
        (row,) = until("it was tried", lambda: fleet.sql(
            "SELECT trouble FROM outbox WHERE verb = 'start' AND trouble IS NOT NULL"))  # fmt: skip
        assert row["trouble"].startswith("Docker on gpu2 does not answer: ")
    assert ida.reach("again", "running", seconds=90)["attempt"] == 1


def test_a_start_on_a_host_that_stays_stuck_fails_and_holds_its_gpus_until_the_engine_says_so(
    fleet: World, hurried: None, ida: Person, second: Machine
):
    with second.stuck("engine"):
        ida.ask("hopeless", host="gpu2", gpus=4)
        until("it is given up", lambda: ida.show("hopeless")["state"] == "stopping", 60)
        assert ida.show("hopeless")["reason"].startswith("Docker on gpu2 does not answer: ")
        assert len(fleet.held()) == 4
    until("it has failed", lambda: ida.show("hopeless")["state"] == "failed", 90)
    assert not fleet.held()
    assert not fleet.ours("drc.vessel", second)
    check_conservation(fleet.db)


def test_more_work_than_a_stuck_host_may_have_in_hand_leaves_room_for_others(
    fleet: World, cramped: None, ida: Person, second: Machine
):
    with second.stuck("engine"), ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: ida.ask(f"there-{n}", host="gpu2", cpus=0.25), range(6)))
        until("its share is in hand", lambda: len(in_hand(fleet)) == 3)
        ida.create("here", host="gpu1")
        ida.stop("here")
        assert len(in_hand(fleet)) == 3
        for n in range(1, 6):
            ida.call("POST", f"/v1/vessels/there-{n}/stop")
    ida.reach("there-0", "running", seconds=90)


def test_a_connection_that_the_way_forgot_is_made_anew(
    forgotten_soon: None, ida: Person, second: Machine
):
    """As behind a firewall that was restarted: what is sent on it arrives nowhere."""
    ida.create("before", host="gpu2", cpus=0.3)
    with second.forgetting():
        assert ida.create("after", host="gpu2", cpus=0.3).ssh("echo", "alive") == "alive\n"
        ida.stop("before")
