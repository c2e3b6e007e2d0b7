"""Vessels of one owner that share GPUs: one row of gpu, one holder, and nothing freed too early."""

import pytest

from drc import fleet
from drc.db import Database
from drc.errors import NameTaken
from drc.fleet import Wish
from drc.vessel import State
from tests.fleets import add_host, add_owner, check_conservation, run_sql, wish


@pytest.fixture
def lead(db: Database) -> Wish:
    add_host(db, "gpu1", {"a100": 2}, cpus=16)
    asked = wish(add_owner(db), "lead", gpus=2, millicpus=4000, memory_mib=100_000)
    assert fleet.reserve_vessel(db, asked) == State.RESERVED
    return asked


def sharer(lead: Wish, name: str = "eval", **changes: object) -> Wish:
    return wish(lead.owner_id, name, gpus=0, **changes)


def state(db: Database, asked: Wish) -> str:
    return fleet.read_vessels(db, id=asked.id, ended=True)[0]["state"]


def cards(db: Database, asked: Wish) -> list[str]:
    return [gpu["uuid"] for gpu in fleet.read_vessels(db, id=asked.id)[0]["gpus"]]


def test_it_sees_the_same_gpus_on_the_same_host_and_holds_none(db: Database, lead: Wish) -> None:
    asked = sharer(lead)
    assert fleet.share_vessel(db, asked, lead.id)
    assert cards(db, asked) == cards(db, lead) == ["GPU-gpu1-0", "GPU-gpu1-1"]
    row = fleet.read_vessels(db, id=asked.id)[0]
    assert (row["host"], row["shares"], row["n_gpus"]) == ("gpu1", "lead", 0)
    check_conservation(db)


def test_its_work_names_the_gpus_it_shares(db: Database, lead: Wish) -> None:
    asked = sharer(lead)
    fleet.share_vessel(db, asked, lead.id)
    run_sql(db, "DELETE FROM outbox WHERE vessel_id IS DISTINCT FROM %s", asked.id)
    row = fleet.claim_work(db, "c#1", wish(1).lifetime, [])
    assert row
    assert (str(row["vessel_id"]), row["gpu_uuids"]) == (asked.id, ["GPU-gpu1-0", "GPU-gpu1-1"])


def test_nobody_elses_gpus_are_shared(db: Database, lead: Wish) -> None:
    stranger = wish(add_owner(db, "eve"), "eve", gpus=0)
    assert not fleet.share_vessel(db, stranger, lead.id)
    check_conservation(db)


@pytest.mark.parametrize("changes", [{"millicpus": 90_000}, {"memory_mib": 10**6}])
def test_what_the_host_has_not_is_refused_and_takes_nothing(
    db: Database, lead: Wish, changes: dict[str, int]
) -> None:
    assert not fleet.share_vessel(db, sharer(lead, **changes), lead.id)
    assert len(fleet.read_vessels(db)) == 1
    check_conservation(db)


def test_a_vessel_that_stops_is_not_shared_any_more(db: Database, lead: Wish) -> None:
    fleet.stop_vessel(db, lead.id, "test")
    assert not fleet.share_vessel(db, sharer(lead), lead.id)


def test_a_closed_host_takes_no_sharer(db: Database, lead: Wish) -> None:
    fleet.cordon_host(db, "gpu1", True)
    assert not fleet.share_vessel(db, sharer(lead), lead.id)


def test_a_name_that_is_taken_takes_nothing(db: Database, lead: Wish) -> None:
    with pytest.raises(NameTaken):
        fleet.share_vessel(db, sharer(lead, "lead"), lead.id)
    check_conservation(db)


def test_a_sharer_that_ends_leaves_the_gpus_with_the_other(db: Database, lead: Wish) -> None:
    asked = sharer(lead)
    fleet.share_vessel(db, asked, lead.id)
    fleet.stop_vessel(db, asked.id, "test")
    assert fleet.bury_vessel(db, asked.id, 1) == State.BURIED
    assert len(cards(db, lead)) == 2
    check_conservation(db)


def test_sharers_end_with_it_and_its_gpus_wait_for_the_last_of_them(
    db: Database, lead: Wish
) -> None:
    one, other = sharer(lead, "one"), sharer(lead, "other")
    for asked in (one, other):
        fleet.share_vessel(db, asked, lead.id)
    fleet.stop_vessel(db, lead.id, "enough")
    assert [state(db, asked) for asked in (lead, one, other)] == [State.STOPPING] * 3
    reason = fleet.read_vessels(db, id=one.id)[0]["reason"]
    assert reason == "the vessel whose GPUs it shares ended: enough"
    assert fleet.bury_vessel(db, lead.id, 1) is None
    fleet.bury_vessel(db, one.id, 1)
    assert fleet.bury_vessel(db, lead.id, 1) is None
    fleet.bury_vessel(db, other.id, 1)
    assert fleet.bury_vessel(db, lead.id, 1) == State.BURIED
    assert all(gpu["vessel"] is None for gpu in fleet.read_gpus(db))
    check_conservation(db)


def test_a_failure_of_another_attempt_ends_nobody(db: Database, lead: Wish) -> None:
    asked = sharer(lead)
    fleet.share_vessel(db, asked, lead.id)
    assert fleet.fail_vessel(db, lead.id, 7, "stale") is None
    assert state(db, asked) == State.RESERVED
