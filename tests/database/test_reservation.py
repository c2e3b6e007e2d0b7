"""The one statement: what it chooses, what it refuses, and that no GPU serves two."""

import random
import threading
from typing import Any

import psycopg
import pytest

from bench.plan import generic_plan, pages
from bench.reserve import LOAD, VALUES
from drc import fleet
from drc.db import Database
from drc.errors import HostTaken, NameTaken
from drc.vessel import State
from tests.fleets import (
    add_host,
    add_owner,
    check_conservation,
    end,
    host_of,
    report_gpus,
    run_sql,
    wish,
)


def held_by(db: Database, id: str) -> list[str]:
    return [gpu["uuid"] for gpu in fleet.read_vessels(db, id=id)[0]["gpus"]]


def test_it_takes_exactly_the_gpus_asked_for(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 8})
    asked = wish(owner, gpus=3, models=["a100"])
    assert fleet.reserve_vessel(db, asked) == "reserved"
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
        ({"host_id": 2}, "GPU-other-0"),
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
    assert fleet.reserve_vessel(db, second) == "queued"
    assert fleet.reserve_vessel(db, second, waits=True) is None
    assert fleet.stop_vessel(db, first.id, "test") == "stopping"
    assert fleet.reserve_vessel(db, second, waits=True) is None  # held until the host has said so
    assert fleet.bury_vessel(db, first.id, 1) == "buried"
    waiting = fleet.read_request(db, second.id)
    assert waiting == second
    assert fleet.reserve_vessel(db, waiting, waits=True) == "reserved"
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
    assert fleet.reserve_vessel(db, second, waits=True) is None
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
                if fleet.reserve_vessel(db, asked):
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
        values |= {"owner_id": "1", "shape": "1"}
        plan = generic_plan(connection, "reserve_vessel", {**values, "models": "ARRAY['m1']"})
        assert 0 < pages(plan, "best") <= 50
        values |= {"gpus": "0", "name": "'w'", "models": "NULL"}
        plan = generic_plan(connection, "reserve_vessel", values)
        assert 0 < pages(plan, "best") <= 50


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
        db, id, cards, {}, docker_version="20.10", cpus=64, millicpus=60_800, memory_mib=486_400
    )
    assert [gpu["uuid"] for gpu in fleet.read_gpus(db)] == [card["uuid"] for card in cards]
    check_conservation(db)


def open_counters(db: Database) -> set[int]:
    """The hosts that a search looks at: what the index gpu_count_fit holds."""
    return {row["host_id"] for row in run_sql(db, "SELECT host_id FROM gpu_count WHERE open")}


def test_a_closed_host_is_out_of_the_search(db: Database) -> None:
    owner = add_owner(db)
    one = add_host(db, "gpu1", {"a100": 8, "l4": 1})
    two = add_host(db, "gpu2", {"a100": 8})
    assert open_counters(db) == {one, two}
    for close, reopen in (
        (
            lambda: fleet.cordon_host(db, "gpu1", True),
            lambda: fleet.cordon_host(db, "gpu1", False),
        ),
        (
            lambda: fleet.report_ill_host(db, one, "no driver"),
            lambda: report_gpus(db, one, "gpu1", {"a100": 8, "l4": 1}),
        ),
    ):
        close()
        assert open_counters(db) == {two}
        check_conservation(db)
        asked = wish(owner, host_id=one)
        assert fleet.reserve_vessel(db, asked) == "queued"
        reopen()
        assert open_counters(db) == {one, two}
        assert fleet.reserve_vessel(db, asked, waits=True) == "reserved"
        end(db, asked.id)
    fleet.report_ill_host(db, one, "no driver")
    fleet.cordon_host(db, "gpu1", True)
    fleet.cordon_host(db, "gpu1", False)
    assert open_counters(db) == {two}
    check_conservation(db)


def test_a_host_is_searched_once_it_is_looked_at_and_committed(db: Database) -> None:
    asked = {"ssh_user": "root", "ssh_port": 22, "ssh_host_key": None, "docker_socket": "/d"}
    asked |= {"address": "127.0.0.1", "ports_from": 22000, "simulate": None}
    id = fleet.add_host(
        db, name="gpu1", ssh_address="gpu1", queues=["default"], committed=False, **asked
    )
    assert open_counters(db) == set()
    report_gpus(db, id, "gpu1", {"a100": 1})
    assert open_counters(db) == set()
    assert fleet.reserve_vessel(db, wish(add_owner(db))) == "queued"
    assert fleet.commit_host(db, "gpu1")
    assert open_counters(db) == {id}
    check_conservation(db)


def test_a_named_host_is_waited_for_while_others_are_free(db: Database) -> None:
    owner = add_owner(db)
    one = add_host(db, "gpu1", {"a100": 1})
    add_host(db, "gpu2", {"a100": 1})
    first, second = wish(owner, "first", host_id=one), wish(owner, "second", host_id=one)
    assert [fleet.reserve_vessel(db, asked) for asked in (first, second)] == ["reserved", "queued"]
    assert fleet.next_waiting(db, []) is None
    assert not fleet.is_contended(db, second.id)
    end(db, first.id)
    assert fleet.next_waiting(db, []) == second.id
    assert fleet.reserve_vessel(db, second, waits=True) == "reserved"
    assert host_of(db, second.id) == "gpu1"


def test_a_near_host_is_tried_alone(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 1})
    far = add_host(db, "gpu2", {"h100": 1})
    first, second = wish(owner, "first"), wish(owner, "second")
    assert fleet.reserve_vessel(db, first, near_id=far) == "reserved"
    assert host_of(db, first.id) == "gpu2"
    assert fleet.reserve_vessel(db, second, near_id=far) == "queued"
    assert fleet.is_contended(db, second.id)  # so it is asked for again, and anywhere
    assert fleet.reserve_vessel(db, second, waits=True) == "reserved"


def test_a_home_or_an_image_decides_among_equal_fits_only(db: Database) -> None:
    owner, other = add_owner(db), add_owner(db, "eve")
    hosts = [add_host(db, f"gpu{n}", {"a100": 2}) for n in range(1, 5)]
    add_host(db, "small", {"l4": 1})
    homes = [{"login": "ada", "mib": None}]
    fleet.note_places(db, hosts[1], [], ["torch"])
    fleet.note_places(db, hosts[2], homes, [])
    fleet.note_places(db, hosts[3], homes, ["torch"])

    def near(asked: int, image: str | None = None, **changes: Any) -> int | None:
        return fleet.find_near_host(db, wish(asked, models=["a100"], **changes), image)

    assert near(owner) == hosts[2]
    assert near(owner, "torch") == hosts[2]  # a home is more than an image
    assert near(other, "torch") == hosts[1]
    assert near(other) is None
    assert near(other, "jax") is None
    assert near(owner, host_id=hosts[0]) is None
    assert near(owner, queues=["vision"]) is None
    # where a smaller card is free, or a host that is broken already, the home is not asked for
    assert fleet.find_near_host(db, wish(owner), None) is None
    fleet.reserve_vessel(db, wish(owner, "breaks", models=["a100"]), near_id=hosts[0])
    assert near(owner) is None
    assert near(owner, gpus=2) == hosts[2]
    # nor where it is closed or full, nor where the best one has the home itself
    fleet.cordon_host(db, "gpu3", True)
    assert near(owner, gpus=2) == hosts[3]
    fleet.reserve_vessel(db, wish(owner, "fills", gpus=2), near_id=hosts[3])
    assert near(owner, gpus=2) is None
    fleet.cordon_host(db, "gpu3", False)
    fleet.cordon_host(db, "gpu2", True)
    assert near(owner, gpus=2) is None


def test_a_home_or_an_image_that_is_gone_counts_no_more(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 2})
    two = add_host(db, "gpu2", {"a100": 2})
    fleet.note_places(db, two, [{"login": "ada", "mib": 5}], ["torch"])
    fleet.note_places(db, two, [{"login": "ada", "mib": 7}], ["torch", "jax"])
    assert [home["mib"] for home in fleet.list_homes(db, owner)] == [7]
    assert fleet.find_near_host(db, wish(owner), None) == two
    fleet.note_places(db, two, [], ["jax"])
    assert fleet.find_near_host(db, wish(owner), "torch") is None
    assert fleet.find_near_host(db, wish(owner), "jax") == two


def test_a_host_that_left_leaves_its_name_address_and_cards_to_others(db: Database) -> None:
    owner = add_owner(db)
    old = add_host(db, "gpu1", {"a100": 2})
    holds = wish(owner, "holds")
    fleet.reserve_vessel(db, holds)
    assert not fleet.remove_host(db, old)
    end(db, holds.id)
    assert fleet.remove_host(db, old)
    assert open_counters(db) == set()
    assert not fleet.remove_host(db, old)
    assert fleet.reserve_vessel(db, wish(owner, "waits")) == "queued"
    new = add_host(db, "gpu1", {"a100": 1})
    assert new != old
    assert [gpu["uuid"] for gpu in fleet.read_gpus(db)] == ["GPU-gpu1-0"]
    later = wish(owner, "later", gpus=0)
    assert fleet.reserve_vessel(db, later) == State.RESERVED
    assert fleet.read_vessels(db, id=later.id)[0]["host"] == "gpu1"
    assert host_of(db, holds.id) == "gpu1"
    check_conservation(db)


def test_two_hosts_are_not_at_one_address(db: Database) -> None:
    add_host(db, "gpu1", {"a100": 1}, ssh_address="10.0.0.1")
    with pytest.raises(HostTaken, match="Another host is at that address"):
        add_host(db, "gpu2", {"a100": 1}, ssh_address="10.0.0.1")
    add_host(db, "gpu1", {"a100": 1}, ssh_address="10.0.0.2")  # one may move
    add_host(db, "gpu2", {"a100": 1}, ssh_address="10.0.0.1")
    with pytest.raises(HostTaken):
        add_host(db, "gpu2", {"a100": 1}, ssh_address="10.0.0.2")


def test_a_card_is_in_one_host(db: Database) -> None:
    add_host(db, "gpu1", {"a100": 1})
    other = add_host(db, "gpu2", {})
    with pytest.raises(HostTaken, match="GPU-gpu1-0 is in another host already"):
        report_gpus(db, other, "gpu1", {"a100": 1})
