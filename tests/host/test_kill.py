"""Every program killed at every step of a vessel's life: afterwards what the books say is true.

Which pairs of step and program are tried is drawn anew each time, with every step among them.
`KILLS` says how many; `KILLS=all`, as in `make soak`, each; `KILLS=ssh-api,keys-sshd` just those.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor import start, stop
from tests.host.hard import VICTIMS, Hard, hard_world
from tests.host.machine import Machine, until

STARTING, STOPPING = tuple(start.STEPS), tuple(stop.STEPS)


def pairs() -> list[tuple[str, str]]:
    steps = [*STARTING, *STOPPING]
    everything = [(step, victim) for step in steps for victim in VICTIMS]
    wanted = os.environ.get("KILLS", str(len(steps)))
    if not wanted.isdecimal():
        return [pair for pair in everything if wanted == "all" or "-".join(pair) in wanted]
    first = random.randrange(len(VICTIMS))
    drawn = [(step, VICTIMS[(first + i) % len(VICTIMS)]) for i, step in enumerate(steps)]
    rest = [pair for pair in everything if pair not in drawn]
    return (drawn + random.sample(rest, len(rest)))[: int(wanted)]


@pytest.fixture(scope="module")
def hard_one(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hard]:
    with hard_world(machine, tmp_path_factory.mktemp("hard")) as hard:
        hard.kill("conductor")
        yield hard


@pytest.fixture
def hard(hard_one: Hard) -> Iterator[Hard]:
    yield hard_one
    if "conductor" in hard_one.processes:  # the test failed
        hard_one.kill("conductor")
    if hard_one.sql("SELECT id FROM outbox") or hard_one.living():
        hard_one.start("conductor")
        hard_one.stop_everything()
        hard_one.kill("conductor")


@pytest.mark.parametrize(("step", "victim"), pairs())
def test_whoever_is_killed_at_whatever_step(hard: Hard, tmp_path: Path, step: str, victim: str):
    folder = tmp_path / "halt"
    folder.mkdir()
    ada, key, name = hard.person("ada"), hard.key(), f"{step}-{victim}"
    hard.start("conductor", "tests.host.halting", step, str(folder))
    created = hard.create(ada, name, key, gpus=1)
    if step in STOPPING:
        ada.reach(name, "running")
        ada.call("POST", f"/v1/vessels/{name}/stop")
    until("it is there", (folder / "reached").exists)
    hard.kill(victim)
    hard.start(victim)
    (folder / "go").touch()
    hard.becomes_true()
    again = hard.create(ada, name, key, gpus=1)
    assert again["id"] == created["id"]
    if step in STARTING:
        state = hard.patiently(lambda: ada.show(name))["state"]
        assert state == "running", ada.show(name)["reason"]
        assert len(hard.held()) == 1
        hard.patiently(lambda: ada.call("POST", f"/v1/vessels/{name}/stop"))
        hard.becomes_true()
    assert not hard.ours("drc.vessel")
    assert not hard.held()
    hard.kill("conductor")
