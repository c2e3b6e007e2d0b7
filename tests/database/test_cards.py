"""Cards: gone and back, slices of one, and those that NVLink joins."""

from datetime import timedelta

import pytest

from drc import fleet
from drc.db import Database, Row
from tests.fleets import (
    add_host,
    add_owner,
    card,
    check_conservation,
    end,
    report_cards,
    run_sql,
    wish,
)


def held_by(db: Database, id: str) -> list[str]:
    return [gpu["uuid"] for gpu in fleet.read_vessels(db, id=id)[0]["gpus"]]


def count(db: Database, model: str = "a100") -> tuple[int, int]:
    """Free cards and cards that there are, of a model in the one host."""
    rows = run_sql(db, "SELECT n_free, n_all FROM gpu_count WHERE model = %s", model)
    return rows[0]["n_free"], rows[0]["n_all"]


def host_with(db: Database, cards: list[Row], name: str = "gpu1") -> int:
    id = add_host(db, name, {})
    report_cards(db, id, cards)
    return id


# Gone and back -----------------------------------------------------------------------------------

CARDS = [card(f"GPU-{index}", index, "a100") for index in range(3)]


def test_a_free_card_that_is_gone_is_given_to_nobody_until_it_is_back(db: Database) -> None:
    owner, id = add_owner(db), host_with(db, CARDS)
    report_cards(db, id, CARDS[1:])
    assert count(db) == (2, 2)
    (gone,) = (gpu for gpu in fleet.read_gpus(db) if gpu["ill"])
    assert (gone["uuid"], gone["ill"]) == ("GPU-0", "gone: the host's last look did not find it")
    assert fleet.reserve_vessel(db, wish(owner, "all", gpus=3)) == "queued"
    two = wish(owner, "two", gpus=2)
    assert fleet.reserve_vessel(db, two) == "reserved"
    assert held_by(db, two.id) == ["GPU-1", "GPU-2"]
    report_cards(db, id, CARDS[1:])  # a second look is as the first
    assert count(db) == (0, 2)
    report_cards(db, id, CARDS)
    assert count(db) == (1, 3)
    assert not any(gpu["ill"] for gpu in fleet.read_gpus(db))
    check_conservation(db)


def test_an_ill_card_that_is_gone_may_come_back_in_another_host(db: Database) -> None:
    id, other = host_with(db, CARDS), host_with(db, [], "gpu2")
    fleet.judge_gpus(db, id, {"GPU-0": "gpu-fault: XID 79"})
    assert count(db) == (2, 3)
    report_cards(db, id, CARDS[1:])
    assert count(db) == (2, 2)
    check_conservation(db)
    report_cards(db, other, CARDS[:1])
    assert [gpu["host"] for gpu in fleet.read_gpus(db) if gpu["uuid"] == "GPU-0"] == ["gpu2"]
    check_conservation(db)


def test_a_held_ill_card_that_is_gone_is_back_when_it_is_seen(db: Database) -> None:
    owner, id = add_owner(db), host_with(db, CARDS)
    holds = wish(owner, "holds", gpus=3)
    fleet.reserve_vessel(db, holds)
    fleet.judge_gpus(db, id, {"GPU-0": "gpu-fault: XID 79"})
    report_cards(db, id, CARDS[1:])
    check_conservation(db)
    end(db, holds.id)
    assert count(db) == (2, 2)
    report_cards(db, id, CARDS)
    assert count(db) == (3, 3)
    check_conservation(db)


def test_a_held_card_that_is_gone_stays_held_and_is_not_free_after_burial(db: Database) -> None:
    owner, id = add_owner(db), host_with(db, CARDS)
    holds = wish(owner, "holds", gpus=2)
    fleet.reserve_vessel(db, holds)
    report_cards(db, id, CARDS[1:])
    assert held_by(db, holds.id) == ["GPU-0", "GPU-1"]
    assert count(db) == (1, 2)
    check_conservation(db)
    end(db, holds.id)
    assert count(db) == (2, 2)
    check_conservation(db)
    report_cards(db, id, CARDS)
    assert count(db) == (3, 3)
    check_conservation(db)


def test_a_held_card_that_is_back_before_burial_is_free_after_it(db: Database) -> None:
    owner, id = add_owner(db), host_with(db, CARDS)
    holds = wish(owner, "holds", gpus=2)
    fleet.reserve_vessel(db, holds)
    report_cards(db, id, [])
    assert count(db) == (0, 0)
    report_cards(db, id, CARDS)
    assert count(db) == (1, 3)
    assert held_by(db, holds.id) == ["GPU-0", "GPU-1"]
    end(db, holds.id)
    assert count(db) == (3, 3)
    check_conservation(db)


def test_a_card_that_is_ill_for_another_reason_is_not_healed_by_a_look(db: Database) -> None:
    id = host_with(db, CARDS)
    run_sql(db, "UPDATE gpu SET ill = 'its memory has errors' WHERE uuid = 'GPU-1'")
    run_sql(db, "UPDATE gpu_count SET n_free = 2 WHERE model = 'a100'")
    for seen in (CARDS, CARDS):  # one that was gone meanwhile is judged anew
        report_cards(db, id, seen)
        check_conservation(db)
    assert [gpu["ill"] for gpu in fleet.read_gpus(db)] == [None, None, "its memory has errors"]


def test_vessels_without_gpu_go_by_the_cards_of_the_last_look(db: Database) -> None:
    owner, id = add_owner(db), host_with(db, CARDS)
    host_with(db, [card("GPU-9", 0, "l4"), card("GPU-8", 1, "l4")], "gpu2")
    report_cards(db, id, CARDS[:1])
    asked = wish(owner, gpus=0)
    fleet.reserve_vessel(db, asked)
    assert fleet.read_vessels(db, id=asked.id)[0]["host"] == "gpu1"


# Slices ------------------------------------------------------------------------------------------

SLICE = "a100-1g.10gb"


def test_a_slice_is_only_given_to_who_names_it(db: Database) -> None:
    owner = add_owner(db)
    slices = [
        card(f"MIG-{number}", number, SLICE, memory_mib=9728, parent="GPU-cut")
        for number in range(2)
    ]
    host_with(db, [*slices, card("GPU-whole", 7, "h100")])
    kinds = run_sql(db, "SELECT model, whole FROM gpu_kind ORDER BY model")
    assert [tuple(kind.values()) for kind in kinds] == [
        (SLICE, False), ("h100", True), ("none", False),
    ]  # fmt: skip
    anything = [wish(owner, f"any{number}") for number in range(2)]
    assert [fleet.reserve_vessel(db, asked) for asked in anything] == ["reserved", "queued"]
    assert held_by(db, anything[0].id) == ["GPU-whole"]
    assert fleet.reserve_vessel(db, wish(owner, "whole", models=["a100"])) == "queued"
    assert fleet.next_waiting(db, []) is None
    named = wish(owner, "named", gpus=2, models=["h100", SLICE])
    assert fleet.reserve_vessel(db, named) == "reserved"
    assert held_by(db, named.id) == ["MIG-0", "MIG-1"]
    claimed = [fleet.claim_work(db, "one", timedelta(seconds=30), []) or {} for _ in range(3)]
    (work,) = (work for work in claimed if work["name"] == "named")
    assert (work["gpu_uuids"], work["cards"]) == (["MIG-0", "MIG-1"], ["GPU-cut"])
    check_conservation(db)


def test_a_cut_card_is_gone_and_its_slices_are_there(db: Database) -> None:
    """An operator turns MIG on: the card itself is not listed any more."""
    id = host_with(db, CARDS[:2])
    cut = [card(f"MIG-{n}", n, SLICE, memory_mib=9728, parent="GPU-0") for n in range(7)]
    report_cards(db, id, [*cut, CARDS[1]])
    assert (count(db), count(db, SLICE)) == ((1, 1), (7, 7))
    report_cards(db, id, CARDS[:2])
    assert (count(db), count(db, SLICE)) == ((2, 2), (0, 0))
    check_conservation(db)


# Islands -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("islands", "held", "gpus", "expected"),
    [
        # one is taken from the island that is broken most
        ([0, 0, 1, 1], [0], 1, [1]),
        ([0, 0, 0, 0, 1, 1, 1, 1], [0, 4, 5], 1, [6]),
        ([0, 0, 1, 1], [], 1, [0]),
        ([0, 0, 2], [], 1, [2]),
        # several from the smallest that is large enough
        ([0, 1, 1, 0], [0], 2, [1, 2]),
        ([0, 0, 0, 1, 1], [], 2, [3, 4]),
        ([0, 0, 0, 0, 1, 1, 1, 1], [4], 3, [5, 6, 7]),
        ([0, 0, 0, 0, 1, 1, 1, 1], [4, 5], 2, [6, 7]),
        ([0, 1, 0, 1, 0, 1, 0, 1], [], 4, [0, 2, 4, 6]),
        # and where none is, from the largest ones
        ([0, 0, 0, 1, 1, 2], [], 4, [0, 1, 2, 3]),
        ([0, 1, 1, 2, 2, 2], [3], 3, [1, 2, 4]),
        ([0, 0, 1, 1], [], 4, [0, 1, 2, 3]),
        # no NVLink: by their numbers
        ([None, None, None], [0], 2, [1, 2]),
        ([None, None, None], [], 1, [0]),
    ],
)
def test_cards_that_nvlink_joins_are_kept_together(
    db: Database, islands: list[int | None], held: list[int], gpus: int, expected: list[int]
) -> None:
    owner = add_owner(db)
    host_with(db, [card(f"GPU-{n}", n, "a100", island=at) for n, at in enumerate(islands)])
    for number in held:  # given one by one, whatever would have been chosen
        run_sql(db, "UPDATE gpu SET ill = 'kept back' WHERE idx <> %s", number)
        fleet.reserve_vessel(db, wish(owner, f"holds{number}"))
        run_sql(db, "UPDATE gpu SET ill = NULL")
    asked = wish(owner, gpus=gpus)
    assert fleet.reserve_vessel(db, asked) == "reserved"
    assert held_by(db, asked.id) == [f"GPU-{number}" for number in expected]
    check_conservation(db)


def test_a_card_that_is_gone_does_not_count_for_its_island(db: Database) -> None:
    owner = add_owner(db)
    cards = [card(f"GPU-{n}", n, "a100", island=n // 3) for n in range(6)]
    id = host_with(db, cards)
    report_cards(db, id, cards[2:])
    two = wish(owner, gpus=2)
    fleet.reserve_vessel(db, two)
    assert held_by(db, two.id) == ["GPU-3", "GPU-4"]


def test_a_new_look_tells_of_new_islands(db: Database) -> None:
    owner = add_owner(db)
    id = host_with(db, [card(f"GPU-{n}", n, "a100") for n in range(4)])
    report_cards(db, id, [card(f"GPU-{n}", n, "a100", island=at) for n, at in enumerate("0110")])
    fleet.reserve_vessel(db, wish(owner, "first"))
    two = wish(owner, gpus=2)
    fleet.reserve_vessel(db, two)
    assert held_by(db, two.id) == ["GPU-1", "GPU-2"]
