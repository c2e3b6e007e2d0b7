"""From the request to the first ssh and to Jupyter's first 200, beside what `docker run` takes.

Each round measures four things one after the other, in an order that turns from round to round:

floor     `docker run` of the vessel image with a vessel's limits, a published loopback port and a
          volume that holds its keys, then `ssh … true` with OpenSSH's own algorithms
stock     `docker run` of the same image with a stock `pip install jupyterlab`, alone
vessel    POST /v1/vessels as `drc create` sends it, while a berth waits; then its Jupyter
no berth  the same after the waiting berths were taken away, rows and containers. The conductor
          heals that within 5 s; a round in which it made a berth for anyone else does not count.

Needs a running drc on this machine, and root (for its database, and to ask Jupyter on a
container's loopback). The first round warms up and does not count.
"""

import argparse
from collections.abc import Mapping, Sequence

from bench.floor import Floor
from bench.installation import Installation
from bench.report import finish, p50, percentile, run
from bench.vessel import measure, sweep
from drc.cli.account import get
from drc.errors import StartFailed

TARGETS = {
    "ssh_ratio_p50": {"max": 0.85},
    "ssh_ratio_p95": {"max": 1.2},
    "ssh_ratio_p50_no_berth": {"max": 1.5},
    "jupyter_ratio_p50": {"max": 0.5},
}
TRIES = 6  # of a round without a berth; one in six meets the conductor's look at its berths
MOMENTS = {
    "reserved": "committed in Postgres",
    "answered": "the request is answered",
    "starting": "a conductor has it (told in the background)",
    "berth create": "network container made",
    "berth start": "network container started",
    "image_ready": "berth and image are there (told in the background)",
    "configured": "ssh configuration written",
    "container create": "container made",
    "container extract-to-dir": "files in /run/drc",
    "container start": "container started",
    "ssh_ready": "sshd says hello",
    "ssh": "ssh … true has exited 0",
    "jupyter": "Jupyter's first 200",
    "jupyter_ready": "the conductor saw it",
    "running": "key and host key tried, token presented",
}
Moments = Mapping[str, float]


class Rounds:
    def __init__(self, here: Installation, floor: Floor) -> None:
        self.here = here
        self.floor = floor
        self.kinds = (self.ssh_floor, self.stock, self.vessel, self.no_berth)
        self.forget()

    def forget(self) -> None:
        self.floors: list[tuple[float, float]] = []
        self.stocks: list[float] = []
        self.vessels: list[Moments] = []
        self.no_berths: list[Moments] = []

    def once(self, number: int) -> None:
        turn = number % len(self.kinds)
        for kind in self.kinds[turn:] + self.kinds[:turn]:
            self.here.settle()
            kind(number)

    def ssh_floor(self, number: int) -> None:
        self.floors.append(self.floor.ssh())

    def stock(self, number: int) -> None:
        self.stocks.append(self.floor.jupyter())

    def vessel(self, number: int) -> None:
        self.vessels.append(measure(self.here, f"{number}"))

    def no_berth(self, number: int) -> None:
        for _ in range(TRIES):
            self.here.take_berths()
            moments = measure(self.here, f"{number}-no-berth")
            if "berth create" in moments:
                self.no_berths.append(moments)
                return
            self.here.settle()
        raise StartFailed("A berth was there each time, though all had been taken away.")

    def figures(self) -> dict[str, object]:
        floor = [entered for entered, _ in self.floors]
        ours = [moments["ssh"] for moments in self.vessels]
        bare = [moments["ssh"] for moments in self.no_berths]
        jupyter = [moments["jupyter"] for moments in self.vessels]
        return {
            "ssh_p50_s": p50(ours),
            "ssh_p95_s": percentile(ours, 95),
            "no_berth_ssh_p50_s": p50(bare),
            "jupyter_p50_s": p50(jupyter),
            "floor_docker_run_p50_s": p50([ran for _, ran in self.floors]),
            "floor_ssh_p50_s": p50(floor),
            "floor_ssh_p95_s": percentile(floor, 95),
            "floor_jupyter_p50_s": p50(self.stocks),
            "ssh_ratio_p50": p50(ours) / p50(floor),
            "ssh_ratio_p95": percentile(ours, 95) / percentile(floor, 95),
            "ssh_ratio_p50_no_berth": p50(bare) / p50(floor),
            "jupyter_ratio_p50": p50(jupyter) / p50(self.stocks),
            "phases_ms": medians(self.vessels),
            "phases_no_berth_ms": medians(self.no_berths),
        }


def medians(rounds: Sequence[Moments]) -> dict[str, float]:
    """Milliseconds from the request to each moment, in the order of the clock."""
    found = {
        kind: round(p50([moments[kind] for moments in rounds if kind in moments]) * 1000, 1)
        for kind in MOMENTS
        if sum(kind in moments for moments in rounds) * 2 > len(rounds)
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def show(title: str, phases: Mapping[str, float]) -> None:
    print(f"\n{title}: milliseconds since the request (median), and since the line above")
    before = 0.0
    for kind, at in phases.items():
        print(f"  {kind:<26}{at:>8.1f}{at - before:>+8.1f}   {MOMENTS[kind]}")
        before = at


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.start")
    parser.add_argument("--vessels", type=int, default=20, help="rounds that count (20)")
    count: int = parser.parse_args().vessels
    get("/v1/vessels")  # says how to start drc when it is not running
    here = Installation()
    floor = Floor(here.engine)
    try:
        sweep()
        rounds = Rounds(here, floor)
        for number in range(count + 1):
            rounds.once(number)
            if number == 0:
                rounds.forget()
            else:
                print(f"round {number}: {line(rounds)}", flush=True)
    finally:
        sweep()
        floor.close()
    figures = rounds.figures()
    show("with a waiting berth", medians(rounds.vessels))
    show("without one", medians(rounds.no_berths))
    finish("start", figures, TARGETS)


def line(rounds: Rounds) -> str:
    """The newest round, in seconds."""
    return (
        f"floor {rounds.floors[-1][0]:.3f}  ours {rounds.vessels[-1]['ssh']:.3f}"
        f"  no berth {rounds.no_berths[-1]['ssh']:.3f}"
        f"  stock Jupyter {rounds.stocks[-1]:.3f}  ours {rounds.vessels[-1]['jupyter']:.3f}"
    )


if __name__ == "__main__":
    run(main)
