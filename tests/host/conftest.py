"""A machine, an installation that has it as its host, and people."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from conductor import watch
from conductor.host import Door, Host, load_key
from conductor.reach import tidy
from conductor.reach.tailnet import Tailnet as Reach
from conductor.reach.tailscale import Tailscale
from drc.config import NET_IMAGE
from drc.up.postgres import Postgres
from tests.host.machine import BRIDGED, BRIDGES, Machine, machine_of_our_own, started, until
from tests.host.world import Person, Vessel, World, world_on
from tests.tailnet.build import binaries
from tests.tailnet.lan import Lan
from tests.tailnet.tailnet import Node, Tailnet


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_of_our_own(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture(scope="session")
def second(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Another machine beside it, which lets the same conductors in and has no images."""
    with started(Machine(tmp_path_factory.mktemp("second"), machine)) as second:
        yield second


@pytest.fixture(scope="session")
def world(
    machine: Machine, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation whose conductor runs in this process, with the machine as its host."""
    with (
        world_on(machine, postgres, "world", tmp_path_factory.mktemp("world"), 22000) as world,
        world.conducting() as _,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(watch, "PAUSE", 0.5)
        world.add_host(world.person("ada"))
        until("the host is open", lambda: world.host()["open"])
        yield world
        world.stop_everything()


@pytest.fixture(scope="session")
def fleet(
    machine: Machine, second: Machine, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation with both machines as its hosts. Conductors come with the tests."""
    with (
        world_on(machine, postgres, "fleet", tmp_path_factory.mktemp("fleet"), 24000) as fleet,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(watch, "PAUSE", 0.5)
        # the homes of other installations lie on the first machine, where a uid is one person
        fleet.sql("ALTER SEQUENCE owner_uid RESTART 40000")
        with fleet.conducting():
            fleet.add_host(fleet.person("ida"))
            until("the first host is open", lambda: fleet.host()["open"])
            second.set_cards(BRIDGED, topology=BRIDGES)
            fleet.add_host(fleet.person("ida"), second, name="gpu2")
            until("the second host is open", lambda: fleet.host("gpu2")["open"])
            until("drc's images are there", second.has_images, 120)
        yield fleet


@pytest.fixture
def ida(fleet: World) -> Iterator[Person]:
    """Somebody with both machines, a conductor, and vessels that end with the test."""
    with fleet.conducting():
        yield fleet.person("ida")
        fleet.stop_everything()
        until("all work is done", lambda: not fleet.sql("SELECT id FROM outbox"))


@pytest.fixture
def ada(world: World) -> Iterator[Person]:
    """Somebody whose vessels end with the test, and everybody else's too; older ones stay."""
    before = {vessel["id"] for vessel in world.living()}
    yield world.person("ada")
    world.stop_everything(but=before)


@pytest.fixture
def bob(world: World) -> Person:
    return world.person("bob")


@pytest.fixture(scope="module")
def bert(world: World) -> Iterator[Vessel]:
    """A vessel with two GPUs that the tests of one file look at."""
    yield world.person("ada").create(
        "bert", gpus=2, gpu=["a100"], memory="1GiB", shm="100MiB", env={"GREETING": "hello, you"}
    )
    world.stop_everything()


@pytest.fixture
def door(machine: Machine) -> Door:
    return Door(
        id=1, name="gpu1", ssh_user="root", ssh_address=machine.address, ssh_port=22,
        ssh_host_key=machine.host_key, docker_socket=str(machine.socket),
        address=machine.address, ports_from=22000, simulate=None, probed=True, open=True,
    )  # fmt: skip


@pytest.fixture
def host(machine: Machine, door: Door) -> Iterator[Host]:
    """The machine as one conductor has it. Its cards are as before in the end."""
    host = Host(door, load_key(machine.key))
    yield host
    host.close()
    machine.set_cards()


# The tailnet -----------------------------------------------------------------------------------

IMAGE = "drc/net:tailnet"


def with_tailscale(machine: Machine) -> str:
    """The network containers' image with Tailscale's programs in it, as image/build makes it."""
    engine, buffer = machine.client, io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        for program in ("tailscale", "tailscaled"):
            tar.add(binaries() / program, program)
    made = engine.create_container(NET_IMAGE)["Id"]
    engine.put_archive(made, "/usr/local/bin", buffer.getvalue())
    engine.commit(made, *IMAGE.split(":"))
    engine.remove_container(made)
    return IMAGE


@pytest.fixture(scope="session")
def tailnet(
    machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Tailnet, Lan]]:
    """On a network that the machine has a cable to."""
    folder = tmp_path_factory.mktemp("tailnet")
    with Lan() as lan, Tailnet(folder, lan.address, prefix=lan.inside()) as tailnet:
        lan.connect(machine.namespace)
        yield tailnet, lan


@contextmanager
def world_in_tailnet(
    machine: Machine, postgres: Postgres, folder: Path, reach: Reach, *, name: str, number: int,
) -> Iterator[World]:  # fmt: skip
    """An installation whose vessels are nodes. `number`: what tells its ports and homes from
    others'.
    """
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(watch, "PAUSE", 0.5)
        patch.setattr(tidy, "PAUSE", 3600)  # tests do it, and say what there is to do
        world = stack.enter_context(world_on(machine, postgres, name, folder, 26000 + 500 * number))
        stack.enter_context(world.conducting(reach=reach, net_image=with_tailscale(machine)))
        # the homes of other installations lie on the first machine, where a uid is one person
        world.sql(f"ALTER SEQUENCE owner_uid RESTART {60000 + 500 * number}")
        world.add_host(world.person("eve"))
        until("the host is open", lambda: world.person("eve").call("GET", "/v1/hosts/gpu1")["open"])
        yield world
        world.stop_everything()
        until("all work is done", lambda: not world.sql("SELECT id FROM outbox"))


def plane_at(tailnet: Tailnet) -> Tailscale:
    return Tailscale(
        Tailnet.tag, client=(Tailnet.client_id, Tailnet.client_secret), url=tailnet.url,
        login_server=tailnet.url,
    )  # fmt: skip


@pytest.fixture(scope="session")
def net(
    machine: Machine,
    postgres: Postgres,
    tailnet: tuple[Tailnet, Lan],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    plane, folder = plane_at(tailnet[0]), tmp_path_factory.mktemp("net")
    with world_in_tailnet(machine, postgres, folder, Reach(plane), name="net", number=0) as net:
        yield net
    plane.web.http.close()


@pytest.fixture(scope="session")
def laptop(
    tailnet: tuple[Tailnet, Lan], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """A computer of a person's, which has joined."""
    with Node(*tailnet, tmp_path_factory.mktemp("laptop"), "laptop") as laptop:
        laptop.up(tailnet[0].mint())
        yield laptop


@pytest.fixture
def eve(net: World) -> Iterator[Person]:
    yield net.person("eve")
    net.stop_everything()
    until("all work is done", lambda: not net.sql("SELECT id FROM outbox"))
