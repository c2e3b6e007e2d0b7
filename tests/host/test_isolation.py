"""What a vessel cannot reach: every target is a listener of ours, first reached from elsewhere.

The machine is a network namespace, so all of its addresses are the tests' own.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker.types
import pytest

from conductor import wanted
from conductor.wanted import Names
from drc.config import NET_IMAGE
from tests.host.machine import CARDS, Machine, run, until
from tests.host.world import Person, Vessel, World

PORT = 7777
WALLED_PORT = 7778
METADATA = "169.254.169.254"
PRIVATE = "10.99.0.1"
PUBLIC = "203.0.113.7"  # a documentation range, which leads nowhere but to the machine itself
KNOCK = "exec 3<>/dev/{by}/{address}/{port} && echo >&3 && head -c 5 <&3"


def reaches(
    vessel: Vessel, address: str, port: int = PORT, container: str | None = None, by: str = "tcp"
) -> bool:
    code = KNOCK.format(by=by, address=address, port=port)
    status, said = vessel.exec("timeout", "5", "bash", "-c", code, container=container)
    return status == 0 and said != ""


def host_reaches(machine: Machine, address: str, port: int, seconds: int = 5) -> bool:
    code = KNOCK.format(by="tcp", address=address, port=port)
    command = machine.inside("timeout", str(seconds), "bash", "-c", code)
    return subprocess.run(command, capture_output=True, text=True).stdout != ""


@pytest.fixture(scope="module")
def mole(world: World):
    yield world.person("ada").create("mole")
    world.stop_everything()


@pytest.fixture(scope="module")
def plain(mole: Vessel):
    """An ordinary container on the vessels' network, without a berth's rules."""
    (network,) = mole.berth()["NetworkSettings"]["Networks"]
    client = mole.engine
    made = client.create_container_from_config({
        "Image": mole.berth()["Image"],
        "Entrypoint": ["sleep", "infinity"],
        "HostConfig": {"NetworkMode": network},
    }, "plain")  # fmt: skip
    client.start(made["Id"])
    yield made["Id"]
    client.remove_container(made["Id"], force=True)


@pytest.fixture(scope="module")
def targets(mole: Vessel, machine: Machine):
    """Addresses of the machine by what they are; something listens at each."""
    (network,) = mole.berth()["NetworkSettings"]["Networks"].values()
    for address in (METADATA, PRIVATE, PUBLIC):
        machine.add_address(address)
    with machine.listening(PORT):
        yield {
            "gateway": network["Gateway"],
            "host": machine.address,
            "metadata": METADATA,
            "private": PRIVATE,
            "public": PUBLIC,
        }


@pytest.mark.parametrize("target", ["gateway", "host", "metadata", "private"])
def test_it_does_not_reach(mole: Vessel, plain: str, targets: dict[str, str], target: str):
    assert reaches(mole, targets[target], container=plain)
    assert not reaches(mole, targets[target])


def test_it_does_not_reach_the_host_by_datagrams_either(
    mole: Vessel, plain: str, targets: dict[str, str]
):
    assert reaches(mole, targets["gateway"], container=plain, by="udp")
    assert not reaches(mole, targets["gateway"], by="udp")


def test_it_reaches_the_rest_of_the_world(mole: Vessel, targets: dict[str, str]):
    assert reaches(mole, targets["public"])


@dataclass(frozen=True)
class Walled:
    """Two containers on a network that speaks IPv6 too: one lives in a berth, one has no rules."""

    machine: Machine
    inside: str
    outside: str
    targets: dict[str, str]

    def reaches(self, address: str, container: str) -> bool:
        code = KNOCK.format(by="tcp", address=address, port=WALLED_PORT)
        engine = ["docker", "-H", f"unix://{self.machine.socket}"]
        command = [*engine, "exec", container, "timeout", "3", "bash", "-c", code]
        return subprocess.run(command, capture_output=True, text=True).stdout != ""


@pytest.fixture(scope="module")
def walled(machine: Machine) -> Iterator[Walled]:
    """A berth as drc makes them, on a host that has public addresses of both families."""
    engine: Any = machine.client
    names = Names("walled00")
    owned = {4: "192.0.2.7", 6: "2001:db8:1::7"}  # in ranges for documentation, which no rule names
    others = {4: "192.0.2.8", 6: "2001:db8:2::8"}
    private, metadata = "fd99::1", "fd00:ec2::254"
    for address in (*owned.values(), *others.values(), private, metadata):
        machine.add_address(address)
    pool = docker.types.IPAMPool(subnet="fd98::/64")
    addresses = docker.types.IPAMConfig(pool_configs=[pool])
    network = engine.create_network(
        names.network, "bridge", wanted.NETWORK_OPTIONS, addresses, enable_ipv6=True
    )["Id"]
    berth = wanted.berth_container(
        names, NET_IMAGE, 0, host="gpu1", address=machine.address, port=21999,
        addresses=" ".join(owned.values()), resolv_conf="/etc/resolv.conf",
    )  # fmt: skip
    idle = {"Image": NET_IMAGE, "Entrypoint": ["sleep", "infinity"]}
    made: list[str] = []
    try:
        for body in (
            berth,
            {**idle, "HostConfig": {"NetworkMode": f"container:{names.berth(0)}"}},
            {**idle, "HostConfig": {"NetworkMode": names.network}},
        ):
            name = names.berth(0) if body is berth else f"walled-{len(made)}"
            made.append(engine.create_container_from_config(body, name)["Id"])
            engine.start(made[-1])
            if body is berth:
                until("its rules are set", lambda: b"ready" in engine.logs(made[0]).split())
        (joined,) = engine.inspect_container(made[2])["NetworkSettings"]["Networks"].values()
        bridge = f"br-{network[:12]}"
        link, *_ = (
            line.split()[3].partition("/")[0]
            for line in run(*machine.inside("ip", "-o", "-6", "addr", "show", bridge)).splitlines()
            if "scope link" in line
        )
        with machine.listening(WALLED_PORT, "::"):
            yield Walled(machine, made[1], made[2], {
                "gateway": joined["IPv6Gateway"],
                "host by its link": f"{link}%eth0",
                "private": private,
                "metadata": metadata,
                "host's public": owned[6],
                "host's public IPv4": owned[4],
                "world": others[6],
                "world IPv4": others[4],
            })  # fmt: skip
    finally:
        for container in reversed(made):
            engine.remove_container(container, force=True)
        engine.remove_network(network)


@pytest.mark.parametrize(
    "target",
    ["gateway", "host by its link", "private", "metadata", "host's public", "host's public IPv4"],
)
def test_it_does_not_reach_by_ipv6_nor_a_public_address_of_the_host(walled: Walled, target: str):
    address = walled.targets[target]
    until("others reach it", lambda: walled.reaches(address, walled.outside))
    assert not walled.reaches(address, walled.inside)


@pytest.mark.parametrize("target", ["world", "world IPv4"])
def test_it_reaches_the_rest_of_the_world_by_both(walled: Walled, target: str):
    until("it is reached", lambda: walled.reaches(walled.targets[target], walled.inside))


def test_it_does_not_reach_another_vessel(mole: Vessel, machine: Machine, bob: Person):
    other = bob.create("neighbour")
    assert host_reaches(machine, other.address(), 22)
    assert not reaches(mole, other.address(), 22)
    # nor by the way round, over the port that the host publishes
    ssh = other.shown["ssh"]
    assert host_reaches(machine, ssh["address"], ssh["port"])
    assert not reaches(mole, ssh["address"], ssh["port"])


def test_only_ssh_is_open_to_the_network(mole: Vessel, machine: Machine):
    serve = f"import socket; s = socket.create_server(('', {PORT}))\n"
    serve += "while True: s.accept()[0].send(b'hi\\n')"
    made = mole.engine.exec_create(mole.container, ["/usr/bin/python3", "-c", serve])
    mole.engine.exec_start(made["Id"], detach=True)
    until("it listens", lambda: reaches(mole, "127.0.0.1"))
    assert not host_reaches(machine, mole.address(), PORT, seconds=1)
    assert host_reaches(machine, mole.address(), 22)


def test_root_in_a_vessel_cannot_change_the_rules(mole: Vessel):
    for command in (
        "ip route add 198.51.100.1 dev lo",
        "ip link set lo down",
        "mknod /tmp/d b 8 0",
    ):
        done = mole.ssh(f"sudo {command} 2>&1; true")
        assert "not permitted" in done, done


def test_a_vessel_of_somebody_else_is_not_in_its_processes(mole: Vessel):
    _, said = mole.exec("sh", "-c", "cat /proc/[0-9]*/comm")
    assert "dockerd" not in said
    assert "tini" in said


def test_a_vessel_gets_the_gpus_that_are_its_own_and_no_others(
    ada: Person, bob: Person, machine: Machine
):
    mine, others = (person.create("mine", gpus=1, cpus=0.3) for person in (ada, bob))
    everything = {line.split(", ")[1] for line in CARDS.splitlines()}
    (own,), (foreign,) = ({gpu["uuid"] for gpu in v.shown["gpus"]} for v in (mine, others))
    assert own != foreign
    assert {own, foreign} < everything
    assert machine.devices_of(mine.container)["NVIDIA_VISIBLE_DEVICES"] == own
    # and NVIDIA's tools are not asked a second time, whatever is said inside
    inside = "NVIDIA_VISIBLE_DEVICES=all ls /dev; sudo mknod /tmp/nvidia0 c 195 0 2>&1; true"
    said = mine.ssh(f"sh -c {inside!r}")
    assert "nvidia" not in said.replace("mknod: /tmp/nvidia0: Operation not permitted", "")
