"""The API's own round, the undertaker's, and the numbers that Prometheus reads."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from drc import fleet
from drc.api import sweep
from drc.db import Database
from drc.up.postgres import Postgres
from drc.vessel import RESERVED_LIMIT, STARTING_LIMIT
from tests.fleets import add_host, check_conservation, run_sql
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import LOG, StandIn
from undertaker.policy import Policies
from undertaker.round import run_once


def age(db: Database, column: str, by: timedelta) -> None:
    """As if that much time had gone by since then."""
    run_sql(db, f"UPDATE vessel SET {column} = {column} - %s", by)


@pytest.mark.parametrize("until", [None, "starting", "image_ready"])
def test_a_vessel_past_its_limit_fails_with_the_reason(
    api: Api, standin: StandIn, db: Database, until: str | None
) -> None:
    api.create("bert", gpus=2)
    if until:
        standin.until = until
        standin.run_once()
    assert sweep.run_once(api.context)["failed"] == 0
    age(db, "state_since", RESERVED_LIMIT)
    age(db, "image_ready_at", STARTING_LIMIT)
    failed = sweep.run_once(api.context)["failed"]
    vessel = api.show("bert")
    if until == "starting":  # a large image may take long to come; its conductor's lease watches
        assert (failed, vessel["state"]) == (0, "starting")
        return
    assert (failed, vessel["state"]) == (1, "stopping")
    assert vessel["reason"] == (
        "It did not come up within 60 s." if until else "No conductor took it within 30 s."
    )
    assert sweep.run_once(api.context)["failed"] == 0
    check_conservation(db)
    if not until:
        standin.tell.absent(standin.take("stop"), LOG)
        assert api.show("bert")["state"] == "failed"


def test_a_waiting_vessel_that_nobody_woke_is_placed(api: Api, host: int, db: Database) -> None:
    """Whoever freed the GPUs died before it looked at the queue."""
    api.create("first", gpus=4)
    api.create("second", gpus=2)
    first = api.show("first")
    assert (api.show("second")["state"], sweep.run_once(api.context)["placed"]) == ("queued", 0)
    fleet.stop_vessel(db, first["id"], "a test")
    assert sweep.run_once(api.context)["placed"] == 0  # held until the host has said so
    fleet.bury_vessel(db, first["id"], 1)
    assert api.show("second")["state"] == "queued"
    assert sweep.run_once(api.context)["placed"] == 1
    assert api.show("second")["state"] == "reserved"
    check_conservation(db)


def test_a_vessel_that_waits_because_of_contention_says_so_and_is_placed(
    api: Api, host: int, db: Database
) -> None:
    """The host's row is locked by somebody for longer than a create has patience."""
    with psycopg.connect(db.url) as somebody:
        somebody.execute("SELECT FROM host FOR UPDATE")
        assert api.create("bert")["state"] == "queued"
    wait_until(lambda: sweep.run_once(api.context) and len(kinds(db)) == 2, "it is served")
    assert kinds(db) == ["queued", "reserved"]


def kinds(db: Database) -> list[str]:
    return [row["kind"] for row in run_sql(db, "SELECT kind FROM event ORDER BY id")]


def test_the_queue_is_served_in_its_order_and_small_ones_may_pass(
    api: Api, host: int, db: Database
) -> None:
    api.create("first", gpus=4)
    for name, gpus in (("large", 4), ("small", 1), ("later", 1)):
        api.create(name, gpus=gpus)
    add_host(db, "gpu2", {"a100": 1})
    assert sweep.run_once(api.context)["placed"] == 1
    states = {name: api.show(name)["state"] for name in ("large", "small", "later")}
    assert states == {"large": "queued", "small": "reserved", "later": "queued"}


def test_old_idempotency_keys_are_forgotten(api: Api, host: int, db: Database) -> None:
    api.raw("POST", "/v1/vessels", {}, headers={"Idempotency-Key": "k"})
    assert sweep.run_once(api.context)["forgotten"] == 0
    age(db, "created_at", sweep.REQUEST_AGE)
    assert sweep.run_once(api.context)["forgotten"] == 1


def test_the_undertaker_buries_what_is_past_its_lifetime_and_nothing_else(
    api: Api, standin: StandIn, db: Database, postgres: Postgres, database: str
) -> None:
    """One round over real HTTP, with its own token and its own database role."""
    api.create("old", lifetime="1h")
    api.create("young", lifetime="2d")
    api.create("theirs", subject="bob", lifetime="1h", gpus=2)
    api.create("waiting", lifetime="1h", gpus=4)
    standin.run_once()
    eyes = Database(postgres.url("drc_undertaker", database), size=1)
    now = datetime.now(UTC)
    with api.client("undertaker", "undertaker") as client:
        assert run_once(eyes, client, now, Policies(), None) == {"keep": 4}
        later = now + timedelta(hours=2)
        assert run_once(eyes, client, later, Policies(), None) == {"keep": 2, "bury": 2}
        assert run_once(eyes, client, later, Policies(), None) == {"keep": 2}
    eyes.close()
    states = {name: api.show(name)["state"] for name in ("old", "young", "waiting")}
    assert states == {"old": "stopping", "young": "running", "waiting": "queued"}
    assert api.show("theirs", subject="bob")["state"] == "stopping"
    assert api.show("old")["reason"].startswith("its lifetime ended at ")
    assert api.show("old")["reason"].endswith("(undertaker)")
