"""Queues by name, and who waits: behind whom, for what, and who is served next."""

from typing import Any

import pytest

from drc import fleet
from drc.db import Database
from drc.fleet import Wish
from tests.fleets import add_host, add_owner, check_conservation, end, host_of, run_sql, wish


def counters(db: Database) -> list[tuple[str, list[str], int, bool]]:
    """Model, queues, free cards and openness of each counter, as a search finds it."""
    rows = run_sql(
        db,
        "SELECT k.model, k.queues, c.n_free, c.open FROM gpu_count c"
        " JOIN gpu_kind k ON k.id = c.kind_id ORDER BY c.host_id, k.model, c.memory_mib",
    )
    return [tuple(row.values()) for row in rows]


def reserve(db: Database, asked: Wish) -> str | None:
    """Where it is, or None while it waits."""
    return host_of(db, asked.id) if fleet.reserve_vessel(db, asked) == "reserved" else None


# A host's queues ---------------------------------------------------------------------------------


def test_a_host_in_two_queues_is_found_through_either(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 3}, queues=["vision", "cheap"])
    for queue in ("vision", "cheap"):
        assert reserve(db, wish(owner, queue, queues=[queue])) == "gpu1"
    assert reserve(db, wish(owner)) is None
    assert counters(db) == [
        ("a100", ["cheap", "vision"], 1, True),
        ("none", ["cheap", "vision"], 3, True),
    ]


def test_a_request_that_names_several_queues_gets_the_best_of_all(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "big", {"h100": 1}, queues=["default"])
    add_host(db, "small", {"l4": 1}, queues=["cheap"])
    add_host(db, "smaller", {"t4": 1}, queues=["other"])
    both = ["cheap", "default"]
    hosts = [reserve(db, wish(owner, f"v{n}", queues=both)) for n in range(3)]
    assert hosts == ["small", "big", None]


def test_a_vessel_without_gpu_keeps_to_its_queues_too(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "cpu1", {}, queues=["cheap"])
    add_host(db, "gpu1", {"a100": 1}, queues=["default"])
    assert reserve(db, wish(owner, gpus=0)) == "gpu1"


def test_a_host_that_is_moved_takes_its_counters_along(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 2, "l4": 1})
    add_host(db, "gpu2", {"a100": 1})
    before = wish(owner, "before", models=["a100"], host_id=1)
    assert reserve(db, before) == "gpu1"
    assert fleet.set_host_queues(db, "gpu1", ["vision", "cheap"])
    moved = ["cheap", "vision"]
    assert counters(db) == [
        ("a100", moved, 1, True),
        ("l4", moved, 1, True),
        ("none", moved, 3, True),
        ("a100", ["default"], 1, True),
        ("none", ["default"], 1, True),
    ]
    assert reserve(db, wish(owner, "here", models=["l4"])) is None
    assert reserve(db, wish(owner, "there", models=["l4"], queues=["vision"])) == "gpu1"
    end(db, before.id)
    assert counters(db)[0] == ("a100", moved, 2, True)
    check_conservation(db)
    assert not fleet.set_host_queues(db, "gpu9", ["default"])


def test_what_waits_in_a_queue_is_found_when_a_host_comes_into_it(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 1})
    asked = wish(owner, queues=["vision"])
    assert reserve(db, asked) is None
    assert fleet.next_waiting(db, []) is None
    fleet.set_host_queues(db, "gpu1", ["default", "vision"])
    assert fleet.next_waiting(db, []) == asked.id
    assert fleet.is_contended(db, asked.id)


def test_a_card_that_is_found_after_a_move_is_in_the_new_queue(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {})
    fleet.set_host_queues(db, "gpu1", ["vision"])
    add_host(db, "gpu1", {"a100": 1}, queues=["default"])  # added again: its queues stay
    assert reserve(db, wish(owner, queues=["vision"])) == "gpu1"
    check_conservation(db)


# Behind whom -------------------------------------------------------------------------------------


def test_whoever_asks_for_what_others_wait_for_waits_behind_them(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 2})
    holds, waits = wish(owner, "holds", gpus=2), wish(owner, "waits", gpus=2)
    assert (reserve(db, holds), reserve(db, waits)) == ("gpu1", None)
    end(db, holds.id)
    late = wish(owner, "late", gpus=2, image="other", env={"A": "1"})
    assert reserve(db, late) is None
    assert fleet.next_waiting(db, []) == waits.id
    assert (fleet.is_contended(db, waits.id), fleet.is_contended(db, late.id)) == (True, False)
    assert fleet.reserve_vessel(db, waits, waits=True) == "reserved"
    check_conservation(db)


@pytest.mark.parametrize(
    "changes",
    [
        {"gpus": 1},
        {"models": ["a100"]},
        {"gpu_memory_mib": 1},
        {"millicpus": 1_000},
        {"memory_mib": 1_000},
        {"host_id": 1},
        {"queues": ["default", "vision"]},
    ],
)
def test_another_shape_passes(db: Database, changes: dict[str, Any]) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 2})
    holds, waits = wish(owner, "holds", gpus=2), wish(owner, "waits", gpus=2)
    assert (reserve(db, holds), reserve(db, waits)) == ("gpu1", None)
    end(db, holds.id)
    assert reserve(db, wish(owner, **{"gpus": 2, **changes})) == "gpu1"


def test_nobody_stands_behind_one_that_gave_up(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 2})
    holds, waits = wish(owner, "holds", gpus=2), wish(owner, "waits", gpus=2)
    assert (reserve(db, holds), reserve(db, waits)) == ("gpu1", None)
    assert fleet.stop_vessel(db, waits.id, "test") == "buried"
    end(db, holds.id)
    assert reserve(db, wish(owner, "late", gpus=2)) == "gpu1"


# Who is next -------------------------------------------------------------------------------------


def waiting(db: Database, owner: int, **changes: Any) -> str:
    """The id of a vessel that waits; whatever it asks for is held by somebody now."""
    asked = wish(owner, f"w{len(fleet.read_vessels(db))}", **changes)
    assert reserve(db, asked) is None
    return asked.id


def test_the_oldest_that_fits_is_next_whatever_its_shape(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 4})
    holds = wish(owner, "holds", gpus=4)
    reserve(db, holds)
    too_large = waiting(db, owner, gpus=5)
    two = waiting(db, owner, gpus=2)
    one = waiting(db, owner)
    two_more = waiting(db, owner, gpus=2)
    three = waiting(db, owner, gpus=3)
    assert fleet.next_waiting(db, []) is None
    end(db, holds.id)
    served: list[str] = []
    while id := fleet.next_waiting(db, []):
        asked = fleet.read_request(db, id)
        assert asked
        assert fleet.reserve_vessel(db, asked, waits=True) == "reserved"
        served.append(id)
    # one card is left after the second of two; three do not fit any more
    assert served == [two, one]
    assert run_sql(db, "SELECT count(*) AS n FROM vessel WHERE state = 'queued'")[0]["n"] == 3
    assert not fleet.is_contended(db, too_large)
    end(db, two)
    assert fleet.next_waiting(db, []) == two_more
    assert fleet.next_waiting(db, [two_more]) == three
    check_conservation(db)


def test_a_skipped_vessel_is_not_next_nor_those_behind_it(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 2})
    holds = wish(owner, "holds", gpus=2)
    reserve(db, holds)
    first, second = waiting(db, owner, gpus=2), waiting(db, owner, gpus=2)
    other = waiting(db, owner)
    end(db, holds.id)
    assert fleet.next_waiting(db, []) == first
    assert fleet.next_waiting(db, [first]) == other
    assert fleet.next_waiting(db, [first, other]) is None
    assert fleet.next_waiting(db, [second]) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"gpus": 4},
        {"models": ["h100"]},
        {"gpu_memory_mib": 90_000},
        {"millicpus": 70_000},
        {"memory_mib": 500_000},
        {"host_id": 2},
        {"queues": ["vision"]},
        {"gpus": 0, "millicpus": 70_000},
        {"gpus": 0, "memory_mib": 500_000},
        {"gpus": 0, "queues": ["vision"]},
    ],
)
def test_what_does_not_fit_is_never_next(db: Database, changes: dict[str, Any]) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 3})
    add_host(db, "gpu2", {"l4": 1}, queues=["other"])
    id = waiting(db, owner, **changes)
    assert fleet.next_waiting(db, []) is None
    assert not fleet.is_contended(db, id)


def test_a_closed_host_serves_nobody_until_it_is_open(db: Database) -> None:
    owner = add_owner(db)
    add_host(db, "gpu1", {"a100": 1})
    fleet.cordon_host(db, "gpu1", True)
    ids = [waiting(db, owner), waiting(db, owner, gpus=0)]
    assert fleet.next_waiting(db, []) is None
    fleet.cordon_host(db, "gpu1", False)
    assert [fleet.next_waiting(db, skip) for skip in ([], ids[:1], ids)] == [*ids, None]
