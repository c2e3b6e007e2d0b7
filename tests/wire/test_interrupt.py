"""Ctrl-C while drc waits, at each stage: the vessel lives on, and drc says how to find it."""

import pytest

from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal

STAGES = [
    # how far the conductor goes, what drc says then, and the state that the vessel keeps
    (None, "✓ reserved", "reserved"),
    ("starting", "✓ taken", "starting"),
    ("image_ready", "✓ image", "starting"),
    ("ssh_ready", "✓ ssh", "starting"),
]


def check(said: str, status: int) -> None:
    assert status == 130
    assert "bert goes on without you." in said
    assert "drc show bert" in said
    assert "drc stop bert" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("until", "line", "state"), STAGES)
def test_ctrl_c_leaves_the_vessel(
    drc: Terminal, api: Api, standin: StandIn, until: str | None, line: str, state: str
) -> None:
    with drc.started("create", "bert") as running:
        if until:
            running.wait_for("reserved")
            standin.until = until
            standin.run_once()
        running.wait_for(line)
        running.interrupt()
        said = running.end()
    check(said.err, said.status)
    assert api.show("bert")["state"] == state


def test_ctrl_c_leaves_a_waiting_vessel_in_the_queue(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    api.create("first", gpus=4)
    with drc.started("create", "bert") as running:
        running.wait_for("queued")
        running.interrupt()
        said = running.end()
    check(said.err, said.status)
    assert api.show("bert")["state"] == "queued"
    with standin.at_work():
        assert drc("stop", "first").status == 0
    assert api.show("bert")["state"] in ("reserved", "starting", "running")  # it starts by itself


def test_ctrl_c_while_stopping_stops_all_the_same(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    api.create("bert")
    standin.run_once()
    with drc.started("stop", "bert") as running:
        stop = None
        while stop is None:
            stop = standin.claim()
        running.interrupt()
        assert running.end().status == 130
    standin.do(stop)
    assert api.show("bert")["state"] == "buried"
