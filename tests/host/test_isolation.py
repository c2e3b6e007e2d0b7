"""What a vessel cannot reach: every target is a listener of ours, first reached from elsewhere.

The machine is a network namespace, so all of its addresses are the tests' own.
"""

import subprocess

import pytest

from tests.host.machine import Machine, until
from tests.host.world import Person, Vessel, World

PORT = 7777
METADATA = "169.254.169.254"
PRIVATE = "10.99.0.1"
PUBLIC = "203.0.113.7"  # a documentation range, which leads nowhere but to the machine itself
KNOCK = "exec 3<>/dev/tcp/{address}/{port} && IFS= read -r -t 3 said <&3 && echo reached"


def reaches(vessel: Vessel, address: str, port: int = PORT, container: str | None = None) -> bool:
    code = KNOCK.format(address=address, port=port)
    status, said = vessel.exec("timeout", "5", "bash", "-c", code, container=container)
    return status == 0 and "reached" in said


def host_reaches(machine: Machine, address: str, port: int, seconds: int = 5) -> bool:
    code = KNOCK.format(address=address, port=port)
    command = machine.inside("timeout", str(seconds), "bash", "-c", code)
    return "reached" in subprocess.run(command, capture_output=True, text=True).stdout


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


def test_it_reaches_the_rest_of_the_world(mole: Vessel, targets: dict[str, str]):
    assert reaches(mole, targets["public"])


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
