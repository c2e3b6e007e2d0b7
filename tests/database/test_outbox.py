"""Work for conductors: claimed once at a time, under a lease, never finished as another work."""

import threading
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from drc import fleet
from drc.db import Database, statement
from tests.fleets import add_host, add_owner, run_sql, wish

LEASE = timedelta(seconds=30)
NOW = timedelta(0)


@pytest.fixture
def owner(db: Database) -> int:
    """An owner, one host with room for many, and an empty outbox."""
    add_host(db, "gpu1", {"a100": 64}, cpus=512)
    finish_all(db)
    return add_owner(db)


def finish_all(db: Database) -> None:
    while work := claim(db, "tidy"):
        assert fleet.finish_work(db, work["id"], "tidy", work["generation"])


def claim(db: Database, conductor: str = "one", avoided: list[int] | None = None) -> Any:
    return fleet.claim_work(db, conductor, LEASE, avoided or [])


def reserve(db: Database, owner: int, name: str = "bert", **more: Any) -> str:
    asked = wish(owner, name, **more)
    assert fleet.reserve_vessel(db, asked) == "reserved"
    return asked.id


def expire(db: Database) -> None:
    """As if half a minute had gone by."""
    run_sql(
        db, "UPDATE outbox SET lease_until = now() - interval '1 second' WHERE claimed_by <> ''"
    )


def test_a_claim_has_all_that_a_start_needs(db: Database, owner: int) -> None:
    id = reserve(db, owner, gpus=2, env={"K": "V"}, shm_mib=512)
    work = claim(db)
    assert (str(work["vessel_id"]), work["verb"], work["attempt"]) == (id, "start", 1)
    assert (work["generation"], work["tries"], work["name"]) == (1, 1, "bert")
    assert (work["login"], work["uid"]) == ("ada", 20000)
    assert work["gpu_uuids"] == work["cards"] == ["GPU-gpu1-0", "GPU-gpu1-1"]
    assert (work["env"], work["shm_mib"], work["n_gpus"]) == ({"K": "V"}, 512, 2)
    assert "token" not in " ".join(work)  # it is fetched by who holds the claim


def test_what_is_claimed_is_claimed_once(db: Database, owner: int) -> None:
    reserve(db, owner)
    assert claim(db, "one")
    assert claim(db, "two") is None
    assert claim(db, "one") is None


def test_a_lease_that_ran_out_is_due_again_and_the_first_holder_has_lost(
    db: Database, owner: int
) -> None:
    reserve(db, owner)
    first = claim(db, "one")
    expire(db)
    second = claim(db, "two")
    assert (second["id"], second["tries"]) == (first["id"], 2)
    assert not fleet.renew_claim(db, first["id"], "one", first["generation"], LEASE)
    assert not fleet.finish_work(db, first["id"], "one", first["generation"])
    assert not fleet.return_work(db, first["id"], "one", NOW, None)
    assert fleet.finish_work(db, second["id"], "two", second["generation"])
    assert claim(db) is None


def test_a_conductors_own_earlier_claim_does_not_pass_for_its_later_one(
    db: Database, owner: int
) -> None:
    """Behind the # stands which claim it is; the secrets are for the conductor, whichever."""
    id = reserve(db, owner)
    first = claim(db, "one#a")
    expire(db)
    second = claim(db, "one#b")
    assert not fleet.renew_claim(db, first["id"], "one#a", first["generation"], LEASE)
    assert not fleet.finish_work(db, first["id"], "one#a", first["generation"])
    assert fleet.read_claim(db, id, 1, "one") is not None
    assert fleet.read_claim(db, id, 1, "on") is None
    assert fleet.finish_work(db, second["id"], "one#b", second["generation"])


def test_a_renewed_lease_is_not_due(db: Database, owner: int) -> None:
    reserve(db, owner)
    work = claim(db, "one")
    expire(db)
    assert fleet.renew_claim(db, work["id"], "one", work["generation"], LEASE)
    assert claim(db, "two") is None


def test_a_conductor_in_mid_claim_holds_nobody_up(db: Database, owner: int) -> None:
    """SKIP LOCKED: the second takes the next piece while the first has not even committed."""
    ids = {reserve(db, owner, "one"), reserve(db, owner, "two")}
    with psycopg.connect(db.url, row_factory=dict_row) as connection:
        asked = {"conductor": "one", "lease": LEASE, "hosts": []}
        first = connection.execute(statement("claim_work"), asked).fetchone()
        second = claim(db, "two")
        assert claim(db, "three") is None
        assert first is not None
        assert {str(first["vessel_id"]), str(second["vessel_id"])} == ids
        connection.rollback()
    assert claim(db, "three")["vessel_id"] == first["vessel_id"]


def test_eight_conductors_share_forty_pieces_and_the_berths(db: Database, owner: int) -> None:
    """Each piece is claimed once; each waiting berth goes to one vessel."""
    for number in range(40):
        reserve(db, owner, f"v-{number}")
    for _ in range(10):
        number = fleet.add_berth(db, 1, None, [])
        assert number is not None
        fleet.ready_berth(db, 1, number)
    claimed: list[Any] = []
    refused: list[BaseException] = []

    def conductor(name: str) -> None:
        try:
            while work := claim(db, name):
                claimed.append(work)
        except BaseException as failed:
            refused.append(failed)

    threads = [threading.Thread(target=conductor, args=(f"c{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert refused == []
    assert len({work["vessel_id"] for work in claimed}) == len(claimed) == 40
    berths = [work["berth"] for work in claimed if work["berth"] is not None]
    assert sorted(berths) == list(range(1, 11))


def test_the_node_that_a_berth_waits_as_goes_to_who_takes_it_and_to_nobody_else(
    db: Database, owner: int
) -> None:
    for device in ("n1", None):
        fleet.ready_berth(db, 1, fleet.add_berth(db, 1, None, []) or 0, device)
    for name in ("one", "two", "three"):
        reserve(db, owner, name)
    assert [claim(db)["node"] for _ in range(3)] == ["n1", "", None]
    expire(db)
    assert [claim(db, "two")["node"] for _ in range(3)] == [None] * 3  # it may be another by now
    assert fleet.remove_berth(db, 1, 1) is None  # its vessel's, which tells the books itself
    waits = fleet.add_berth(db, 1, None, []) or 0
    fleet.ready_berth(db, 1, waits, "n2")
    assert fleet.remove_berth(db, 1, waits) == "n2"


def test_a_berth_is_taken_with_the_start_and_stays_its_vessels(db: Database, owner: int) -> None:
    making, waiting = (fleet.add_berth(db, 1, None, []) for _ in range(2))
    assert (making, waiting) == (1, 2)
    fleet.ready_berth(db, 1, waiting or 0)
    reserve(db, owner, "one")
    reserve(db, owner, "two")
    first, second = claim(db), claim(db)
    assert (first["berth"], second["berth"]) == (2, None)  # one that is being made is not waiting
    fleet.ready_berth(db, 1, 1)
    expire(db)
    again = {work["name"]: work["berth"] for work in (claim(db, "two"), claim(db, "two"))}
    assert again == {"one": 2, "two": 1}
    fleet.stop_vessel(db, str(first["vessel_id"]), "a test")
    expire(db)
    assert {w["name"]: w["berth"] for w in (claim(db), claim(db))} == again  # a stop knows it too


def test_a_stop_during_a_start_is_not_finished_by_it(db: Database, owner: int) -> None:
    id = reserve(db, owner)
    start = claim(db, "one")
    assert fleet.stop_vessel(db, id, "changed my mind") == "stopping"
    assert claim(db, "two") is None  # its holder is still at work on the host
    assert not fleet.renew_claim(db, start["id"], "one", start["generation"], LEASE)
    assert not fleet.finish_work(db, start["id"], "one", start["generation"])
    assert fleet.return_work(db, start["id"], "one", NOW, None)
    stop = claim(db, "two")
    assert (stop["id"], stop["verb"], stop["tries"]) == (start["id"], "stop", 1)
    assert stop["generation"] == start["generation"] + 1
    assert fleet.finish_work(db, stop["id"], "two", stop["generation"])
    assert claim(db) is None


def test_a_stop_is_due_when_its_starter_has_died(db: Database, owner: int) -> None:
    id = reserve(db, owner)
    claim(db, "one")
    fleet.stop_vessel(db, id, "a test")
    expire(db)
    assert claim(db, "two")["verb"] == "stop"


def test_work_that_is_returned_waits_out_its_delay(db: Database, owner: int) -> None:
    reserve(db, owner)
    work = claim(db, "one")
    assert fleet.return_work(db, work["id"], "one", timedelta(minutes=5), "Docker is ill")
    assert claim(db, "two") is None
    trouble = run_sql(db, "SELECT trouble FROM outbox")
    assert trouble == [{"trouble": "Docker is ill"}]
    run_sql(db, "UPDATE outbox SET run_at = now()")
    assert claim(db, "two")["tries"] == 2


def test_an_avoided_host_gives_no_work(db: Database, owner: int) -> None:
    reserve(db, owner)
    assert claim(db, "one", avoided=[1]) is None
    assert claim(db, "one", avoided=[2])


def test_the_oldest_work_comes_first(db: Database, owner: int) -> None:
    names = ["first", "second", "third"]
    for name in names:
        reserve(db, owner, name)
    assert [claim(db)["name"] for _ in names] == names


def test_key_work_is_one_per_vessel_and_is_not_lost_under_a_claim(db: Database, owner: int) -> None:
    id = reserve(db, owner)
    assert fleet.queue_keys(db, owner) == 0  # it gets its keys when it starts
    fleet.start_vessel(db, id, 1)
    finish_all(db)
    assert (fleet.queue_keys(db, owner), fleet.queue_keys(db, owner)) == (1, 1)
    work = claim(db, "one")
    assert (work["verb"], str(work["vessel_id"])) == ("keys", id)
    assert claim(db, "two") is None
    fleet.queue_keys(db, owner)  # changed again, while the first change is being written
    assert not fleet.finish_work(db, work["id"], "one", work["generation"])
    fleet.return_work(db, work["id"], "one", NOW, None)
    assert claim(db, "two")["verb"] == "keys"


def test_only_who_holds_the_claim_reads_what_belongs_to_it(db: Database, owner: int) -> None:
    id = reserve(db, owner)
    assert fleet.read_claim(db, id, 1, "one") is None
    claim(db, "one")
    known = fleet.read_claim(db, id, 1, "one")
    assert known is not None
    assert (known["name"], known["login"]) == ("bert", "ada")
    assert fleet.read_claim(db, id, 1, "two") is None
    assert fleet.read_claim(db, id, 2, "one") is None
    expire(db)
    assert fleet.read_claim(db, id, 1, "one") == known
    assert claim(db, "two")
    assert fleet.read_claim(db, id, 1, "one") is None


def test_a_probe_belongs_to_a_host_and_is_asked_for_once(db: Database, owner: int) -> None:
    id = add_host(db, "gpu2", {})
    work = claim(db)
    assert (work["verb"], work["host_id"], work["vessel_id"]) == ("probe", id, None)
    add_host(db, "gpu2", {})
    assert not fleet.finish_work(db, work["id"], "one", work["generation"])
