"""An API that serves over HTTP, a conductor without Docker, and people at terminals."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from drc import fleet
from drc.db import Database
from drc.up.postgres import Postgres
from tests.fleets import add_host
from tests.wait import wait_until
from tests.wire.served import Api, Door, listening, serving
from tests.wire.standin import HOST_KEY, StandIn
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


@pytest.fixture
def looking(standin: StandIn) -> Iterator[StandIn]:
    """A conductor at work, which looks at hosts without SSH."""
    with standin.at_work():
        yield standin


@pytest.fixture
def gpu7(api: Api, looking: StandIn) -> str:
    """A second host, of two H100s, in the queue `big` and no other."""
    with api.client("op", "operator") as client:
        client.call("POST", "/v1/queues", {"name": "big"})
        request = {"ssh_address": "10.0.0.7", "ssh_host_key": HOST_KEY, "queue": ["big"]}
        client.call("POST", "/v1/hosts", {"name": "gpu7", "committed": True, **request})
        wait_until(lambda: client.call("GET", "/v1/hosts/gpu7")["open"], "gpu7 is looked at")
    return "gpu7"


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


@pytest.fixture
def operator(terminal: Callable[[str], Terminal], api: Api) -> Terminal:
    """The terminal of somebody who may change the fleet."""
    person = terminal("op")
    person.token = api.token("op", "operator")
    return person
