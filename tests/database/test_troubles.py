"""GPUs that are set aside and let go, and troubles, when several say so at once."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from drc import fleet
from drc.db import Database
from tests.database.here import OneConnection
from tests.fleets import add_host, add_owner, card, check_conservation, report_cards, run_sql, wish
from tests.wait import wait_until

GPU = "GPU-gpu1-0"
ILL, OTHER = "gpu-fault: one", "gpu-fault: another"


@pytest.fixture
def host(db: Database) -> int:
    return add_host(db, "gpu1", {"a100": 2})


def ill(db: Database, uuid: str = GPU) -> str | None:
    return next(gpu["ill"] for gpu in fleet.read_gpus(db) if gpu["uuid"] == uuid)


def at_once(
    db: Database, first: Callable[[Database], Any], second: Callable[[Database], Any]
) -> None:
    """The second begins before the first has committed, and waits for it."""
    with psycopg.connect(db.url, row_factory=psycopg.rows.dict_row) as connection:
        first(OneConnection(connection))
        waiting = threading.Thread(target=second, args=(db,))
        waiting.start()
        wait_until(
            lambda: run_sql(
                db,
                "SELECT 1 AS one FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()",
            ),
            "the second waits",
        )
        connection.commit()
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.parametrize(
    ("before", "first", "second"),
    [(None, ILL, OTHER), (None, ILL, None), (ILL, None, OTHER), (ILL, None, None)],
)
def test_two_looks_at_once_count_a_gpu_once(
    before: str | None, first: str | None, second: str | None, db: Database, host: int
) -> None:
    fleet.judge_gpus(db, host, {GPU: before})
    at_once(
        db,
        lambda db: fleet.judge_gpus(db, host, {GPU: first}),
        lambda db: fleet.judge_gpus(db, host, {GPU: second}),
    )
    assert ill(db) == second
    check_conservation(db)


def test_a_gpu_that_is_released_while_a_look_finds_it_well_is_free_once(
    db: Database, host: int
) -> None:
    fleet.judge_gpus(db, host, {GPU: ILL})
    at_once(
        db,
        lambda db: fleet.judge_gpus(db, host, {GPU: None}),
        lambda db: fleet.release_gpu(db, "gpu1", 0),
    )
    assert ill(db) is None
    check_conservation(db)


def test_a_card_is_released_with_all_of_its_slices(db: Database) -> None:
    host = add_host(db, "gpu1", {})
    slices = [card(f"MIG-{n}", n, "a100-3g.40gb", parent="GPU-0", memory_mib=40000) for n in (0, 1)]
    report_cards(db, host, slices)
    fleet.judge_gpus(db, host, {"GPU-0": ILL})
    check_conservation(db)
    released = fleet.release_gpu(db, "gpu1", 1)
    assert released is not None
    assert released["uuid"] == "MIG-1"
    assert [gpu["ill"] for gpu in fleet.read_gpus(db)] == [None, None]
    check_conservation(db)


def trouble(db: Database, host: int, kind: str = "host-silent", **more: Any) -> None:
    fleet.note_troubles(db, host, (), [{"kind": kind, "detail": "why", **more}])


def test_a_host_that_was_never_committed_goes_with_what_was_wrong_with_it(
    db: Database, host: int
) -> None:
    fleet.write_doubts(db, [{"uuid": GPU, "sign": "xid", "value": 79}])
    trouble(db, host, "gpu-fault", uuid=GPU)
    run_sql(db, "UPDATE host SET committed = false RETURNING id")
    assert fleet.forget_host(db, "gpu1")
    assert fleet.list_troubles(db) == []


def test_what_was_wrong_with_a_host_is_over_when_it_leaves(db: Database, host: int) -> None:
    trouble(db, host)
    assert fleet.remove_host(db, host)
    assert fleet.list_troubles(db) == []


def test_a_trouble_that_came_back_just_now_is_not_called_over(db: Database, host: int) -> None:
    trouble(db, host)
    fleet.note_troubles(db, host, ["host-silent"], [])
    (over,) = fleet.list_troubles(db)
    assert over["ended_at"]
    trouble(db, host)
    assert not fleet.tell_troubles(db, [], [over["id"]], [])
    assert [row["ended_at"] for row in fleet.list_troubles(db)] == [None]


def test_a_vessel_whose_container_is_gone_is_never_well(db: Database, host: int) -> None:
    asked = wish(add_owner(db))
    fleet.reserve_vessel(db, asked)
    trouble(db, host, "container-gone", vessel=asked.id)
    (gone,) = fleet.list_troubles(db)
    assert fleet.tell_troubles(db, [gone["id"]], [gone["id"]], [])
    assert run_sql(db, "SELECT kind FROM event WHERE kind IN ('trouble', 'well')") == [
        {"kind": "trouble"}
    ]


# What asks for a look ----------------------------------------------------------------------------


def looks(db: Database) -> int:
    """How many looks are asked for; they are made."""
    return len(run_sql(db, "DELETE FROM outbox WHERE verb = 'probe' RETURNING id"))


def test_a_round_asks_for_a_look_where_the_cards_are_not_those_in_the_books(
    db: Database, host: int
) -> None:
    looks(db)
    every = ["GPU-gpu1-0", "GPU-gpu1-1"]
    for judged, seen, expected in (
        (None, every, 0), (None, every[:1], 1), (ILL, every, 0), (None, [*every, "GPU-new"], 1),
    ):  # fmt: skip
        fleet.judge_gpus(db, host, {GPU: judged})
        fleet.note_round(db, host, {}, cards=seen)
        assert looks(db) == expected, (judged, seen)
    report_cards(db, host, [])
    fleet.note_round(db, host, {}, cards=every)
    assert looks(db) == 1
    fleet.note_round(db, host, {}, cards=[])
    assert looks(db) == 0


def test_a_round_asks_for_a_look_after_a_reboot(db: Database, host: int) -> None:
    run_sql(db, 'UPDATE host SET facts = \'{"boot": "one"}\' RETURNING id')
    looks(db)
    for boot, expected in (("one", 0), (None, 0), ("two", 1)):
        fleet.note_round(db, host, {}, boot=boot)
        assert looks(db) == expected, boot


def test_a_card_whose_host_has_no_exporter_is_not_watched(db: Database, host: int) -> None:
    assert len(fleet.list_watched(db)) == 2
    fleet.set_host(db, "gpu1", exporter="none")
    assert fleet.list_watched(db) == []
