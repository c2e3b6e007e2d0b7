"""From the restart of a program that was killed until all is true again, with fifty vessels.

True again: every container of ours belongs to a vessel that should have one, and the other way
round; no work is left; and a vessel that was asked for while the program was down runs. Killed are
conductor, API, Postgres, the host's sshd, and its engine, which keeps its containers meanwhile
(`live-restore`, as docs/hosts.md recommends). An engine without that ends all fifty with itself;
how long it takes until each is started again is the last figure, and promised by nobody.
"""

import argparse
import time

from bench.report import finish, p50, percentile, run
from bench.soak import everything
from tests.host.hard import VICTIMS, Hard

VESSELS = 50
ROUNDS = 4
LITTLE = {"gpus": 0, "cpus": 0.1, "memory": "250MiB"}
LATE = {"gpus": 0, "cpus": 1, "memory": "250MiB"}
CPUS = 64  # that the books give the host, however few it has: fifty vessels that do nothing fit
TARGETS = {"recover_p95_s": {"max": 10}}
LONG = 600.0


def recover(hard: Hard, victim: str, number: int) -> float:
    """Seconds from the restart of the victim until all is true again."""
    ada, name = hard.person("ada"), f"late-{victim}-{number}"
    hard.kill(victim)
    begun = time.monotonic()
    hard.start(victim)
    hard.create(ada, name, hard.key(), **LATE)
    hard.becomes_true(LONG)
    took = time.monotonic() - begun
    hard.patiently(lambda: ada.call("POST", f"/v1/vessels/{name}/stop"))
    hard.becomes_true(LONG)
    print(f"  {victim:<10}{took:6.2f} s", flush=True)
    return took


def measure(hard: Hard, vessels: int, rounds: int) -> dict[str, float]:
    ada = hard.person("ada")
    hard.sql(
        "UPDATE host SET millicpus = %s, millicpus_free = millicpus_free + %s - millicpus",
        CPUS * 1000,
        CPUS * 1000,
    )
    for n in range(vessels):
        hard.create(ada, f"v{n}", hard.key(), **LITTLE)
    hard.becomes_true(LONG)
    print(f"{vessels} vessels run", flush=True)
    took = {victim: [recover(hard, victim, n) for n in range(rounds)] for victim in VICTIMS}
    figures = {f"{victim}_p50_s": p50(times) for victim, times in took.items()}
    every = [seconds for times in took.values() for seconds in times]
    hard.machine.end_engine()
    hard.machine.live_restore = False
    hard.start("engine")
    return {
        "vessels": float(vessels),
        "recover_p95_s": percentile(every, 95),
        **figures,
        "ended_with_engine_s": recover(hard, "engine", rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recover")
    parser.add_argument("--vessels", type=int, default=VESSELS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    with everything(live_restore=True) as hard:
        figures = measure(hard, asked.vessels, asked.rounds)
    finish("recover", figures, TARGETS)


if __name__ == "__main__":
    run(main)
