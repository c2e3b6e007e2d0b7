"""A machine, an installation that has it as its host, and people."""

from collections.abc import Iterator

import pytest

from conductor import watch
from drc.up.postgres import Postgres
from tests.host.machine import Machine, machine_of_our_own, until
from tests.host.world import Person, Vessel, World, world_on


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_of_our_own(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


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
