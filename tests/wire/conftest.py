"""An API that serves over HTTP, a conductor without Docker, and people at terminals."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from drc import fleet
from drc.db import Database
from drc.up.postgres import Postgres
from tests.fleets import add_host
from tests.wire.served import Api, Door, listening, serving
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal
from tests.wire.warm import Warm


@pytest.fixture(scope="session")
def door() -> Iterator[Door]:
    with listening() as door:
        yield door


@pytest.fixture
def api(door: Door, postgres: Postgres, database: str, tmp_path: Path) -> Iterator[Api]:
    folder = tmp_path / "keys"
    folder.mkdir()
    with serving(door, postgres, database, folder) as api:
        yield api


@pytest.fixture
def host(db: Database) -> int:
    """One host with four GPUs, whose probe is done."""
    id = add_host(db, "gpu1", {"a100": 4})
    work = fleet.claim_work(db, "probe", timedelta(minutes=1), [])
    assert work is not None
    fleet.finish_work(db, work["id"], "probe", work["generation"])
    return id


@pytest.fixture
def standin(postgres: Postgres, database: str, api: Api, host: int) -> Iterator[StandIn]:
    conductor = StandIn(postgres, database, api)
    yield conductor
    conductor.close()


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    program = Warm()
    yield program
    program.close()


@pytest.fixture
def terminal(api: Api, tmp_path: Path, warm: Warm) -> Callable[[str], Terminal]:
    """A terminal of a person's own."""

    def of(subject: str) -> Terminal:
        home = tmp_path / f"home-{subject}"
        home.mkdir()
        return Terminal(home, api.url, api.token(subject), warm)

    return of


@pytest.fixture
def drc(terminal: Callable[[str], Terminal]) -> Terminal:
    """Ada's terminal: `drc("list")`."""
    return terminal("ada")
