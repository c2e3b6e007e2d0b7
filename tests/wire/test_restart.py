"""The API goes away and comes back at the same address, while somebody follows a vessel."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from drc.db import Database
from drc.up.postgres import Postgres
from tests.fleets import check_conservation
from tests.wire.served import Api, listening, serving
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal
from tests.wire.warm import Warm


class Restarted:
    """An API of a test's own, which can be ended and begun again."""

    def __init__(self, postgres: Postgres, database: str, folder: Path) -> None:
        self.postgres, self.database, self.folder = postgres, database, folder
        self.port = 0
        self.ends: list[ExitStack] = []

    def begin(self) -> Api:
        server, context = ExitStack(), ExitStack()
        door = server.enter_context(listening(self.port))
        self.port = int(door.url.rpartition(":")[2])
        api = context.enter_context(serving(door, self.postgres, self.database, self.folder))
        self.ends = [server, context]
        return api

    def end(self) -> None:
        """Connections are cut off first, as by a process that is killed."""
        for stack in self.ends:
            stack.close()
        self.ends = []


@pytest.fixture
def restarted(postgres: Postgres, database: str, tmp_path: Path) -> Iterator[Restarted]:
    folder = tmp_path / "keys"
    folder.mkdir()
    api = Restarted(postgres, database, folder)
    yield api
    api.end()


@contextmanager
def conductor(postgres: Postgres, database: str, api: Api) -> Iterator[StandIn]:
    standin = StandIn(postgres, database, api)
    try:
        yield standin
    finally:
        standin.close()


def test_who_follows_a_vessel_follows_on_when_the_api_was_restarted(
    restarted: Restarted,
    postgres: Postgres,
    database: str,
    host: int,
    db: Database,
    tmp_path: Path,
    warm: Warm,
) -> None:
    """What happened meanwhile is told once, and nothing twice."""
    api = restarted.begin()
    drc = Terminal(tmp_path / "home", api.url, api.token(), warm)
    drc.home.mkdir()
    with conductor(postgres, database, api) as standin, drc.started("create", "bert") as running:
        running.wait_for("✓ reserved")
        standin.until = "image_ready"
        work = standin.take("start")
        standin.bring_up(work)
        running.wait_for("✓ image")
        restarted.end()
        assert running.process.poll() is None
        api = restarted.begin()
        standin.until = "running"
        standin.bring_up(work, after="image_ready")
        said = running.end()
    assert said.status == 0, said.err
    phases = re.findall(r"✓ (\w+) ", said.err)
    assert phases == ["reserved", "taken", "image", "ssh", "jupyter", "running"]
    assert api.show("bert")["state"] == "running"
    assert "GET /v1/events" in api.requests
    check_conservation(db)


def test_who_waits_in_line_is_served_by_an_api_that_was_restarted(
    restarted: Restarted,
    postgres: Postgres,
    database: str,
    host: int,
    db: Database,
    tmp_path: Path,
    warm: Warm,
) -> None:
    api = restarted.begin()
    drc = Terminal(tmp_path / "home", api.url, api.token(), warm)
    drc.home.mkdir()
    holds = api.create("holds", gpus=4)
    with conductor(postgres, database, api) as standin, drc.started("create", "bert") as running:
        running.wait_for("It starts by itself")
        restarted.end()
        api = restarted.begin()
        with standin.at_work():
            api.raw("POST", "/v1/vessels/holds/stop")
            said = running.end()
    assert said.status == 0, said.err
    assert re.findall(r"[✓…] (\w+) ", said.err)[:2] == ["queued", "reserved"]
    assert api.show("holds")["id"] == holds["id"]
    check_conservation(db)
