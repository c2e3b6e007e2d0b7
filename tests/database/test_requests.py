"""Idempotency keys: one vessel per owner and key, for a day."""

from datetime import timedelta

import pytest

from drc import fleet
from drc.db import Database
from drc.errors import RequestChanged
from tests.fleets import add_host, add_owner, check_conservation, run_sql, wish


def test_a_key_makes_one_vessel_per_owner(db: Database) -> None:
    add_host(db, "gpu1", {"a100": 4})
    ada, bob = add_owner(db, "ada"), add_owner(db, "bob")
    first = wish(ada, "bert", idempotency_key="k", request_hash=b"1")
    fleet.reserve_vessel(db, first)
    with pytest.raises(RequestChanged):
        fleet.reserve_vessel(db, wish(ada, "otter", idempotency_key="k", request_hash=b"1"))
    fleet.reserve_vessel(db, wish(bob, "bert", idempotency_key="k", request_hash=b"2"))
    check_conservation(db)
    found = fleet.find_request(db, ada, "k")
    assert found is not None
    assert (str(found["id"]), found["request_hash"]) == (first.id, b"1")
    assert fleet.find_request(db, ada, "other") is None


def test_requests_without_a_key_are_as_many_as_wanted(db: Database) -> None:
    add_host(db, "gpu1", {"a100": 4})
    owner = add_owner(db)
    for name in ("one", "two", "three"):
        assert fleet.reserve_vessel(db, wish(owner, name)) == "reserved"


def test_a_key_is_forgotten_after_a_day(db: Database) -> None:
    add_host(db, "gpu1", {"a100": 4})
    owner, day = add_owner(db), timedelta(hours=24)
    old = wish(owner, "old", idempotency_key="old")
    fleet.reserve_vessel(db, old)
    fleet.reserve_vessel(db, wish(owner, "new", idempotency_key="new"))
    run_sql(db, "UPDATE vessel SET created_at = now() - interval '25 hours' WHERE id = %s", old.id)
    assert fleet.forget_requests(db, day) == 1
    assert fleet.find_request(db, owner, "old") is None
    assert fleet.find_request(db, owner, "new") is not None


def test_a_waiting_vessel_keeps_every_word_of_its_request(db: Database) -> None:
    owner = add_owner(db)
    asked = wish(
        owner,
        gpus=2,
        models=["a100", "h100"],
        gpu_memory_mib=40_000,
        millicpus=1_500,
        memory_mib=2_048,
        host_id=add_host(db, "gpu9", {}),
        queues=["big", "default"],
        shm_mib=64,
        env={"K": "ü"},
        lifetime=timedelta(hours=36),
        idempotency_key="k",
        request_hash=b"\x00\xff",
    )
    assert fleet.reserve_vessel(db, asked) == "queued"
    assert fleet.read_request(db, asked.id) == asked


def test_a_login_is_one_owners_and_a_uid_is_never_given_twice(db: Database) -> None:
    ada = fleet.ensure_owner(db, "ada@one", "ada")
    assert ada is not None
    assert fleet.ensure_owner(db, "ada@one", "other") == ada
    assert fleet.ensure_owner(db, "ada@two", "ada") is None
    second = fleet.ensure_owner(db, "ada@two", "ada2")
    assert second is not None
    assert second["uid"] > ada["uid"] == 20000
