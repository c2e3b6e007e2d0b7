"""A thousand operations with random kills between them: nothing is lost, nothing left over.

One machine with an engine and an sshd of its own, and Postgres, API and conductor as processes.
`lost`: vessels, GPUs or stops that somebody was told of and that are not so. `orphans`: containers,
network containers and volumes without their vessel.
"""

import argparse
import contextlib
import logging
import random
import tempfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

from bench.report import finish, run
from drc.errors import Refused
from tests.host.hard import VICTIMS, Hard, hard_world
from tests.host.machine import machine_of_our_own

OPERATIONS = 1_000
BETWEEN = 12  # operations between two kills, on average
MOST = 6  # vessels at once: two CPUs are all there is
LITTLE = {"gpus": 0, "cpus": 0.25, "memory": "300MiB"}
TARGETS = {"lost": {"max": 0}, "orphans": {"max": 0}}


class Soak:
    def __init__(self, hard: Hard, dice: random.Random) -> None:
        self.hard = hard
        self.dice = dice
        self.ada = hard.person("ada")
        self.created: dict[str, str] = {}
        """Ids by name, of the vessels that somebody was told of and nobody stopped."""
        self.stopped: dict[str, str] = {}
        self.kills = Counter[str]()
        self.number = 0

    def operate(self) -> None:
        if self.dice.random() < 1 / BETWEEN:
            self.kill(self.dice.choice(VICTIMS))
        if self.created and (len(self.created) >= MOST or self.dice.random() < 0.45):
            self.stop(self.dice.choice(sorted(self.created)))
        else:
            self.create()

    def kill(self, victim: str) -> None:
        self.kills[victim] += 1
        self.hard.kill(victim)
        self.hard.start(victim)

    def create(self) -> None:
        self.number += 1
        wish: dict[str, Any] = dict(LITTLE)
        if self.dice.random() < 0.3:
            wish["gpus"] = 1
        name = f"v{self.number}"
        self.created[name] = self.hard.create(self.ada, name, self.hard.key(), **wish)["id"]

    def stop(self, name: str) -> None:
        def stop() -> bool:
            with contextlib.suppress(Refused):  # it was heard the first time
                self.ada.call("POST", f"/v1/vessels/{name}/stop")
            return True

        self.hard.patiently(stop)
        self.stopped[name] = self.created.pop(name)

    def lost(self) -> list[str]:
        """What was acknowledged and is not so, once nothing is on its way."""
        rows = {
            row["id"]: row for row in self.hard.sql("SELECT id::text, state, reason FROM vessel")
        }
        wrong = [f"{name} is not there" for name, id in self.created.items() if id not in rows]
        wrong += [
            f"{name} {rows[id]['state']}: {rows[id]['reason']}"
            for name, id in self.created.items()
            if id in rows and rows[id]["state"] != "running"
        ]
        wrong += [
            f"{name} was stopped and is {rows[id]['state']}"
            for name, id in self.stopped.items()
            if rows[id]["state"] not in ("buried", "failed")
        ]
        return wrong


def soak(hard: Hard, operations: int, seed: int) -> dict[str, Any]:
    """Figures; what was lost or left over is printed."""
    soaking = Soak(hard, random.Random(seed))
    for _ in range(operations):
        soaking.operate()
    untrue = hard.untrue()
    lost = soaking.lost()
    for name in sorted(soaking.created):
        soaking.stop(name)
    untrue += hard.untrue()
    for line in (*lost, *untrue):
        print(f"  {line}")
    return {
        "operations": operations,
        "kills": sum(soaking.kills.values()),
        "lost": len(lost) + len(hard.held()),
        "orphans": len(untrue) + len(hard.ours("drc.vessel")),
    }


@contextlib.contextmanager
def everything(*, live_restore: bool = False) -> Generator[Hard]:
    """A machine, and an installation that has it as its host."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # that Postgres died is no news
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drc-bench-")))
        for part in ("machine", "hard"):
            (folder / part).mkdir()
        machine = stack.enter_context(
            machine_of_our_own(folder / "machine", live_restore=live_restore)
        )
        yield stack.enter_context(hard_world(machine, folder / "hard", berths=2))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--operations", type=int, default=OPERATIONS)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with everything() as hard:
        figures = soak(hard, asked.operations, asked.seed)
    finish("soak", figures, TARGETS)


if __name__ == "__main__":
    run(main)
