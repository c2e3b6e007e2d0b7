"""A database whose disk is full: no word that it gave is lost; with room again it goes on."""

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from drc import fleet
from drc.db import Database, migrate
from drc.errors import DatabaseUnreachable, DrcError
from drc.up.postgres import Postgres
from tests.fleets import add_host, add_owner, check_conservation, wish
from tests.wait import wait_until

DISK_MIB = 320
LEFT = 2 * 2**20  # bytes; some vessels, before it is full


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server on a disk of its own."""
    if os.geteuid() != 0:
        pytest.fail("This test needs root: it mounts a small disk. Run it with sudo.")
    disk = Path("/var/tmp") / f"drc-small-{os.getpid()}"
    disk.mkdir()
    options = f"size={DISK_MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "drc-small", disk], check=True)
    try:
        user = "nobody"
        os.chown(disk, pwd.getpwnam(user).pw_uid, -1)
        postgres = Postgres(disk / "postgres", user)
        postgres.start()
        migrate(postgres.url())
        yield postgres
        postgres.stop()
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()


def fill(disk: Path) -> Path:
    """Leave next to nothing. Returns the file to remove."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:
        while out.write(b"x" * 65536):
            pass
    os.truncate(filler, filler.stat().st_size - LEFT)
    return filler


def test_what_was_acknowledged_is_there_when_there_is_room_again(small: Postgres) -> None:
    db = Database(small.url(), size=2)
    owner = add_owner(db, "ada")
    add_host(db, "gpu1", {"a100": 8})
    filler = fill(small.folder.parent)
    acknowledged: list[str] = []
    with pytest.raises(DatabaseUnreachable, match=r"does not answer"):  # noqa: PT012
        for n in range(20_000):
            asked = wish(owner, f"v{n}", gpus=1, image="x" * 200)
            fleet.reserve_vessel(db, asked)
            acknowledged.append(asked.id)
    db.close()
    filler.unlink()

    def is_up() -> bool:
        with contextlib.suppress(DrcError, psycopg.Error):
            small.start()  # one that could not write its log has ended
            psycopg.connect(small.url()).close()
            return True
        return False

    wait_until(is_up, "it is up again", 60)
    db = Database(small.url(), size=2)
    there = {str(row["id"]) for row in fleet.read_vessels(db, most=50_000)}
    assert set(acknowledged) <= there
    assert len(there - set(acknowledged)) <= 1  # the last may be there without an answer
    assert len(acknowledged) > 8
    check_conservation(db)
    assert fleet.stop_vessel(db, acknowledged[0], "enough")
    db.close()
