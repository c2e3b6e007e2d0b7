"""GPUs that are set aside and let go, and troubles, when several say so at once."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from drc import fleet
from drc.db import Database
from tests.database.here import OneConnection
from tests.fleets import (
    add_host,
    card,
    check_conservation,
    report_cards,
    run_sql,
)
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
