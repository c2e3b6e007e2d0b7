"""A vessel's disk ends where it was said to, on an engine that can limit it, and only there.

Its machine has Docker's files on btrfs: overlay needs xfs with quotas, which few kernels have.
"""

import shutil
from collections.abc import Iterator

import pytest

from conductor.host import Host
from conductor.trial import limits
from conductor.wanted import Names
from drc.config import DEFAULT_IMAGE
from drc.up.postgres import Postgres
from tests.host.machine import Machine, run, started, unmount, until
from tests.host.world import Vessel, world_on

NAMES = Names("0badcafe")
LIMIT = 1024  # MiB, with what btrfs counts in: the image's 440
WRITE = "dd if=/dev/zero of=/opt/large bs=1M count=900"


@pytest.fixture(scope="module")
def roomy(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine whose engine can limit what a container writes."""
    if not shutil.which("mkfs.btrfs"):
        pytest.fail("These tests make a btrfs: apt-get install btrfs-progs")
    folder = tmp_path_factory.mktemp("roomy")
    disk = folder / "disk"
    disk.mkdir()
    run("truncate", "-s", "8G", folder / "image")
    run("mkfs.btrfs", "-q", folder / "image")
    run("mount", "-o", "loop", folder / "image", disk)
    try:
        run("btrfs", "quota", "enable", disk)  # else the engine does, and it counts later
        with started(Machine(folder, machine, disk=disk)) as roomy:
            roomy.load_images()
            yield roomy
    finally:
        unmount(folder)
        (folder / "image").unlink()


@pytest.fixture(scope="module")
def bert(
    roomy: Machine, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vessel]:
    folder = tmp_path_factory.mktemp("world")
    with world_on(roomy, postgres, "disk", folder, 26000) as world, world.conducting(1, LIMIT):
        world.add_host(world.person("ada"))
        until("the host is open", lambda: world.host()["open"])
        yield world.person("ada").create("bert")
        world.stop_everything()


def test_what_it_writes_of_its_own_ends_at_the_limit(bert: Vessel) -> None:
    status, said = bert.exec("sh", "-c", WRITE)
    assert status != 0
    assert "Disk quota exceeded" in said
    assert int(bert.exec("stat", "-c", "%s", "/opt/large")[1]) < LIMIT * 2**20
    assert bert.ssh("echo alive; echo kept > notes; cat notes") == "alive\nkept\n"
    assert bert.exec("rm", "/opt/large")[0] == 0


def test_a_container_without_the_limit_writes_all_of_it(bert: Vessel) -> None:
    plain = bert.engine.create_container_from_config({
        "Image": DEFAULT_IMAGE,
        "Entrypoint": ["sh", "-c", WRITE],
        "HostConfig": {"NetworkMode": "none"},
    })["Id"]  # fmt: skip
    try:
        bert.engine.start(plain)
        assert bert.engine.wait(plain)["StatusCode"] == 0
    finally:
        bert.engine.remove_container(plain, force=True)


def test_its_host_says_how_much_a_vessel_may_write(bert: Vessel) -> None:
    assert bert.owner.world.host()["facts"]["disk_each_mib"] == LIMIT


def test_an_engine_that_cannot_limit_it_is_not_asked_to(host: Host, machine: Machine) -> None:
    host.disk_mib = LIMIT
    before = images(machine)
    found = limits(host, NAMES)
    assert (found.cpus, found.disk_mib) == (machine.client.info()["NCPU"], None)
    assert images(machine) == before


def images(machine: Machine) -> set[str]:
    """All but those that vessels leave, some of which may just be made, or forgotten."""
    found = machine.client.images()
    return {image["Id"] for image in found if "drc.saved" not in (image["Labels"] or {})}


def test_one_that_takes_the_limit_and_forgets_it_counts_as_one_that_cannot(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Docker does with containerd's image store: what it is asked is taken out on the way."""
    host.disk_mib = LIMIT
    create = host.docker().create_container_from_config

    def forgetful(body: dict[str, object], *more: object) -> object:
        return create({**body, "HostConfig": {"NetworkMode": "none"}}, *more)

    monkeypatch.setattr(host.docker(), "create_container_from_config", forgetful)
    assert limits(host, NAMES).disk_mib is None


def test_without_a_limit_nothing_is_tried(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.docker(), "_post", None)  # by which all is made
    assert limits(host, NAMES).disk_mib is None
