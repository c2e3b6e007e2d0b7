"""From the request to the first ssh over a real tailnet, beside `docker run` and ssh to its port.

One machine with an engine of its own, and a laptop's tailscaled that has joined. Each round
measures both, in turn; the second half of them with berths that wait joined:

floor     `docker run` of the vessel image with a vessel's limits and a published port, then
          `ssh … true` to that
unjoined  POST /v1/vessels while a berth waits: its node joins beside the other steps, and
          `ssh … true` goes from the laptop to its address
joined    the same while a berth waits that is a node already
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.floor import Floor
from bench.postgres import embedded
from bench.report import finish, p50, percentile, run
from bench.tries import first_ssh
from conductor.reach.tailnet import Tailnet as Reach
from conductor.reach.tailscale import Tailscale
from tests.host.conftest import with_tailscale
from tests.host.machine import Machine, machine_of_our_own, until
from tests.host.world import Person, World, world_on
from tests.tailnet.lan import Lan
from tests.tailnet.tailnet import Node, Tailnet

NETWORK = "drc-bench"
TARGETS = {"tailnet_ratio_p50": {"max": 2.0}, "tailnet_ratio_p50_joined": {"max": 1.1}}


class Plain(Floor):
    """On the machine's engine, without the stock Jupyter, which is not measured here."""

    def __init__(self, machine: Machine) -> None:
        os.environ["DOCKER_HOST"] = f"unix://{machine.socket}"
        super().__init__(machine.client, machine.address)
        made = self.engine.create_network(NETWORK, driver="bridge")["Id"]
        self.stack.callback(self.engine.remove_network, made)

    def build_stock_image(self) -> None:
        pass

    def run(self, name: str, image: str, *options: str) -> str:
        """The engines of tests have no network that Docker makes by itself."""
        return super().run(name, image, "--network", NETWORK, *options)


class Rounds:
    def __init__(self, floor: Plain, person: Person, laptop: Node) -> None:
        self.floor, self.person, self.laptop = floor, person, laptop
        self.floors: list[float] = []
        self.ours: list[float] = []

    def bare(self) -> None:
        self.floors.append(self.floor.ssh()[0])

    def vessel(self, name: str) -> None:
        world = self.person.world
        world.settle()
        begun = time.time()
        self.person.ask(name, cpus=1, memory="2GiB")
        for event in self.person.client.events(after="0-0", vessel=name):
            if event["kind"] == "joined":
                break
        command = self.person.ssh(self.person.show(name))
        entered = first_ssh([str(word) for word in self.laptop.inside(*command)])
        self.ours.append(entered - begun)
        self.person.reach(name, "running")
        self.person.stop(name)
        until("its device is gone", lambda: not world.sql("SELECT id FROM outbox"))


@contextmanager
def made(*, joined: bool) -> Iterator[Rounds]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = ("machine", "tailnet", "world", "laptop")
        machine_folder, tailnet_folder, world_folder, laptop_folder = (
            folder / name for name in names
        )
        for each in (machine_folder, tailnet_folder, world_folder, laptop_folder):
            each.mkdir()
        machine = stack.enter_context(machine_of_our_own(machine_folder))
        lan = stack.enter_context(Lan())
        tailnet = stack.enter_context(Tailnet(tailnet_folder, lan.address, prefix=lan.inside()))
        lan.connect(machine.namespace)
        postgres = stack.enter_context(embedded())
        world: World = stack.enter_context(
            world_on(machine, postgres, "bench", world_folder, 27000)
        )
        plane = Tailscale(Tailnet.tag, token=tailnet.token, url=tailnet.url,
                          login_server=tailnet.url)  # fmt: skip
        stack.callback(plane.web.http.close)
        stack.enter_context(
            world.conducting(reach=Reach(plane, joined=joined), net_image=with_tailscale(machine))
        )
        world.sql("ALTER SEQUENCE owner_uid RESTART 70000")
        person = world.person("kim")
        world.add_host(person)
        until("the host is open", lambda: person.call("GET", "/v1/hosts/gpu1")["open"])
        laptop = stack.enter_context(Node(tailnet, lan, laptop_folder, "laptop"))
        laptop.up(tailnet.mint())
        floor = Plain(machine)
        stack.callback(floor.close)
        yield Rounds(floor, person, laptop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tailnet")
    parser.add_argument("--vessels", type=int, default=12, help="rounds that count (12)")
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    count: int = parser.parse_args().vessels
    floors: list[float] = []
    ours: dict[bool, list[float]] = {}
    for joined in (False, True):
        with made(joined=joined) as rounds:
            print("with berths that wait joined" if joined else "unjoined", flush=True)
            for number in range(count + 1):
                rounds.bare()
                rounds.vessel(f"v{number}")
                last = f"floor {rounds.floors[-1]:.3f} s, tailnet {rounds.ours[-1]:.3f} s"
                print(f"  {number:>3}  {last}", flush=True)
            floors += rounds.floors[1:]  # the first warms up
            ours[joined] = rounds.ours[1:]
    figures = {
        "floor_ssh_p50_s": p50(floors),
        "tailnet_ssh_p50_s": p50(ours[False]),
        "tailnet_ssh_p95_s": percentile(ours[False], 95),
        "joined_ssh_p50_s": p50(ours[True]),
        "tailnet_ratio_p50": p50(ours[False]) / p50(floors),
        "tailnet_ratio_p50_joined": p50(ours[True]) / p50(floors),
    }
    finish("tailnet", figures, TARGETS)


if __name__ == "__main__":
    run(main)
