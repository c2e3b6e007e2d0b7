"""Homes that come along: who may ask for it, who brings it, and what its owner sees of that."""

from collections.abc import Callable, Iterator

import pytest

from drc import fleet
from drc.db import Database
from drc.vessel import STARTING_LIMIT
from tests.fleets import run_sql
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal


@pytest.fixture
def home(api: Api, gpu7: str, looking: StandIn, db: Database) -> Iterator[str]:
    """The one of ada on gpu7, in which she is no more."""
    run_sql(db, "UPDATE host SET queues = '{big,default}' WHERE name = 'gpu1' RETURNING id")
    api.create("before", gpus=1, host="gpu7", queue=["big"])
    wait_until(lambda: api.show("before")["state"] == "running", "it runs")
    api.raw("POST", "/v1/vessels/before/stop")
    wait_until(lambda: api.show("before")["state"] == "buried", "it has ended")
    yield "gpu7"
    looking.home_stays = ""


def test_it_comes_once_and_its_owner_sees_it_come(
    drc: Terminal, api: Api, home: str, db: Database
) -> None:
    said = drc("create", "bert", "--host", "gpu1", "--home-from", home).err
    assert "· your home comes from gpu7" in said
    assert "yours of gpu7 came along (3 GiB)" in said
    assert api.show("bert")["home_from"] is None
    kinds = [line.split()[2] for line in drc("events", "bert").out.splitlines()]
    assert kinds[2:5] == ["image_ready", "home_coming", "home_came"]
    again = drc("create", "otter", "--gpus", "0", "--host", "gpu1", "--home-from", home).err
    assert "it came along before" in again
    run_sql(
        db, "UPDATE home SET came_at = created_at FROM vessel WHERE name = 'before' RETURNING 1"
    )
    later = drc("create", "whale", "--gpus", "0", "--host", "gpu1", "--home-from", home).err
    assert "came along (3 GiB)" in later  # for its owner was in it since


def test_one_that_stays_is_said_to_and_the_vessel_runs(
    drc: Terminal, api: Api, home: str, looking: StandIn, db: Database
) -> None:
    looking.home_stays = "gpu1 has no room for 3 GiB; it has 1 GiB."
    said = drc("create", "bert", "--host", "gpu1", "--home-from", home).err
    assert "! home" in said
    assert "it stays on gpu7, and you have another here: gpu1 has no room for 3 GiB" in said
    assert api.show("bert")["state"] == "running"
    assert not run_sql(db, "SELECT came_from FROM home WHERE came_from IS NOT NULL")


def test_it_is_where_it_is_to_come_from_already(drc: Terminal, home: str) -> None:
    said = drc("create", "bert", "--host", home, "--queue", "big", "--home-from", home).err
    assert "· your home is here" in said
    assert "came along" not in said


def test_one_that_waits_brings_it_once_there_is_room(api: Api, home: str, db: Database) -> None:
    (row,) = run_sql(db, "SELECT n_gpus FROM host WHERE name = 'gpu1'")
    api.create("first", gpus=row["n_gpus"], host="gpu1")
    assert api.create("bert", gpus=1, host="gpu1", home_from=home)["state"] == "queued"
    assert api.show("bert")["home_from"] == home
    api.raw("POST", "/v1/vessels/first/stop")
    wait_until(lambda: api.show("bert")["state"] == "running", "it runs")
    (row,) = run_sql(db, "SELECT came_from FROM home WHERE came_from IS NOT NULL")
    assert row["came_from"]


def test_a_home_of_nobody_s_or_of_no_host_is_refused(drc: Terminal, home: str) -> None:
    said = drc("create", "bert", "--home-from", "gpu9")
    assert (said.status, "There is no host called gpu9." in said.err) == (1, True)
    said = drc("create", "bert", "--home-from", "gpu1")
    assert said.status == 1
    assert "You have no home on gpu1." in said.err
    assert "Yours is on gpu7." in said.err


def test_another_owner_s_home_is_not_there(terminal: Callable[[str], Terminal], home: str) -> None:
    said = terminal("bob")("create", "bert", "--home-from", home)
    assert "You have no home on gpu7." in said.err
    assert "You have none yet." in said.err


def test_a_vessel_has_time_while_its_home_comes_and_no_more(
    api: Api, home: str, looking: StandIn, db: Database
) -> None:
    made = api.create("bert", gpus=1, host="gpu1", home_from=home)
    wait_until(lambda: api.show("bert")["state"] == "running", "it runs")
    run_sql(db, "UPDATE vessel SET state = 'starting', image_ready_at = now() - interval '1 day'"
                " WHERE name = 'bert' RETURNING id")  # fmt: skip
    late = [str(row["id"]) for row in fleet.list_overdue(db, STARTING_LIMIT, STARTING_LIMIT)]
    assert late == [made["id"]]
    run_sql(db, "UPDATE vessel v SET home_from = h.id FROM host h WHERE v.name = 'bert'"
                " AND h.name = 'gpu7' RETURNING v.id")  # fmt: skip
    assert fleet.list_overdue(db, STARTING_LIMIT, STARTING_LIMIT) == []
    run_sql(db, "UPDATE vessel SET state = 'running' WHERE name = 'bert' RETURNING id")
