"""The one statement: what it chooses, what it refuses, and that no GPU serves two."""

import random
import threading

import psycopg
import pytest

from bench.plan import generic_plan, pages
from bench.reserve import LOAD, VALUES
from drc import fleet
from drc.db import Database
from drc.errors import NameTaken
from tests.fleets import add_host, add_owner, check_conservation, wish


def held_by(db: Database, id: str) -> list[str]:
    return [gpu["uuid"] for gpu in fleet.read_vessels(db, id=id)[0]["gpus"]]


def test_it_takes_exactly_the_gpus_asked_for(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 8})
    asked = wish(owner, gpus=3, models=["a100"])
    assert fleet.reserve_vessel(db, asked) == {"state": "reserved", "contended": False}
    assert held_by(db, asked.id) == ["GPU-gpu1-0", "GPU-gpu1-1", "GPU-gpu1-2"]
    check_conservation(db)


def test_the_smallest_card_and_the_fullest_host_win(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "big", {"h100": 8})
    add_host(db, "roomy", {"a10": 8})
    add_host(db, "tight", {"a10": 2})
    asked = wish(owner, gpus=2)
    fleet.reserve_vessel(db, asked)
    assert held_by(db, asked.id) == ["GPU-tight-0", "GPU-tight-1"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"models": ["h100"]}, "GPU-mixed-4"),
        ({"models": ["h100", "a10"]}, "GPU-mixed-0"),
        ({"gpu_memory_mib": 40_000}, "GPU-mixed-4"),
        ({"host": "other"}, "GPU-other-0"),
        ({"millicpus": 50_000}, "GPU-other-0"),
        ({"memory_mib": 450_000}, "GPU-other-0"),
    ],
)
def test_each_condition_decides(db: Database, changes: dict[str, object], expected: str) -> None:
    owner = add_owner(db)
    add_host(db, "mixed", {"a10": 4, "h100": 2}, cpus=32, memory_mib=256_000)
    add_host(db, "other", {"h200": 8})
    asked = wish(owner, **changes)
    fleet.reserve_vessel(db, asked)
    assert held_by(db, asked.id) == [expected]
    check_conservation(db)


def test_cpus_and_memory_default_to_the_share_of_the_gpus(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 8}, cpus=64, memory_mib=512_000)
    asked = wish(owner, gpus=2)
    fleet.reserve_vessel(db, asked)
    row = fleet.read_vessels(db, id=asked.id)[0]
    assert (row["millicpus"], row["memory_mib"]) == (2 * 60_800 // 8, 2 * 486_400 // 8)


def test_a_vessel_without_gpu_gets_two_cpus_and_prefers_hosts_without(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 8})
    add_host(db, "cpu1", {})
    asked = wish(owner, gpus=0)
    fleet.reserve_vessel(db, asked)
    row = fleet.read_vessels(db, id=asked.id)[0]
    assert (row["host"], row["millicpus"], row["memory_mib"]) == ("cpu1", 2000, 4096)
    check_conservation(db)


def test_what_does_not_fit_waits_and_is_placed_by_the_same_statement(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 2})
    first, second = wish(owner, "first", gpus=2), wish(owner, "second", gpus=1)
    fleet.reserve_vessel(db, first)
    assert fleet.reserve_vessel(db, second) == {"state": "queued", "contended": False}
    assert fleet.reserve_vessel(db, second) == {"state": None, "contended": False}
    assert fleet.stop_vessel(db, first.id, "test") == "stopping"
    assert fleet.reserve_vessel(db, second)["state"] is None  # held until the host has said so
    assert fleet.bury_vessel(db, first.id, 1) == "buried"
    waiting = fleet.read_request(db, second.id)
    assert waiting == second
    assert fleet.reserve_vessel(db, waiting)["state"] == "reserved"
    check_conservation(db)


def test_a_stopped_waiting_vessel_is_never_placed(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 1})
    first, second = wish(owner, "first"), wish(owner, "second")
    fleet.reserve_vessel(db, first)
    fleet.reserve_vessel(db, second)
    assert fleet.stop_vessel(db, second.id, "test") == "buried"
    fleet.stop_vessel(db, first.id, "test")
    fleet.bury_vessel(db, first.id, 1)
    assert fleet.reserve_vessel(db, second)["state"] is None
    check_conservation(db)


def test_a_name_serves_one_living_vessel_and_a_refusal_takes_nothing(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 4})
    fleet.reserve_vessel(db, wish(owner, "bert"))
    with pytest.raises(NameTaken):
        fleet.reserve_vessel(db, wish(owner, "bert"))
    check_conservation(db)


def test_sixteen_threads_race_and_everything_adds_up(db: Database) -> None:
    """Creates and stops at once over three small hosts: contention, waiting and freeing."""
    owner = add_owner(db)
    for number in range(3):
        add_host(db, f"gpu{number}", {"a100": 4, "h100": 4})
    refused: list[BaseException] = []

    def user(seed: int) -> None:
        dice = random.Random(seed)
        mine: list[str] = []
        try:
            for turn in range(30):
                models = dice.choice([None, ["a100"], ["h100"]])
                asked = wish(owner, f"v-{seed}-{turn}", gpus=dice.randint(0, 3), models=models)
                if fleet.reserve_vessel(db, asked)["state"]:
                    mine.append(asked.id)
                if len(mine) > 2:
                    ended = mine.pop(dice.randrange(len(mine)))
                    fleet.stop_vessel(db, ended, "race")
                    fleet.bury_vessel(db, ended, 1)
        except BaseException as failed:
            refused.append(failed)

    threads = [threading.Thread(target=user, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert refused == []
    check_conservation(db)
    assert any(gpu["vessel"] for gpu in fleet.read_gpus(db))


def test_the_search_reads_few_pages_of_a_large_fleet(database_url: str) -> None:
    """Prepared, as it is run: it walks the fleet in best-fit order and stops at the first fit."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(LOAD.format(hosts=2000, busy=0.85).encode())
        connection.execute("VACUUM ANALYZE")
        values = {**VALUES, "id": "gen_random_uuid()", "name": "'v'", "gpus": "1"}
        plan = generic_plan(connection, "reserve_vessel", {**values, "models": "ARRAY['m1']"})
        assert 0 < pages(plan, "with_gpus") <= 50
        values |= {"gpus": "0", "name": "'w'", "models": "NULL"}
        plan = generic_plan(connection, "reserve_vessel", values)
        assert 0 < pages(plan, "without_gpus") <= 50


def test_a_host_whose_cards_are_numbered_anew_keeps_them(db: Database) -> None:
    """A driver may number its cards differently after a boot; a new card may take an old number."""
    add_owner(db)
    id = add_host(db, "gpu1", {"a100": 2})
    cards = [
        {"uuid": f"GPU-gpu1-{card}", "index": index, "name": "A100", "model": "a100",
         "memory_mib": 81920, "simulated": False}
        for index, card in enumerate((1, 0, 9))
    ]  # fmt: skip
    fleet.report_host(
        db, id, cards, docker_version="20.10", cpus=64, millicpus=60_800, memory_mib=486_400
    )
    assert [gpu["uuid"] for gpu in fleet.read_gpus(db)] == [card["uuid"] for card in cards]
    check_conservation(db)
