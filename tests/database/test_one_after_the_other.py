"""Two statements on one host at once: the one that had to wait goes by what it finds then."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from drc import fleet
from drc.db import Database, Row
from drc.fleet import Wish
from tests.database.here import OneConnection
from tests.fleets import (
    add_host,
    add_owner,
    card,
    check_conservation,
    report_cards,
    run_sql,
    wish,
)
from tests.wait import wait_until


@dataclass
class Scene:
    """A host with six cards: the first is held, the second is held and gone, the third is gone."""

    owner_id: int
    host: str
    host_id: int
    cards: list[Row]
    held: list[str]

    @classmethod
    def set(cls, db: Database, owner_id: int, number: int) -> "Scene":
        host = f"gpu{number}"
        id = add_host(db, host, {})
        cards = [card(f"{host}/{index}", index, "a100") for index in range(6)]
        held: list[str] = []
        for index in range(2):
            report_cards(db, id, cards[: index + 1])
            asked = wish(
                owner_id, f"{host}-held{index}", host_id=id, millicpus=1000, memory_mib=1000
            )
            assert fleet.reserve_vessel(db, asked) == "reserved"
            assert fleet.stop_vessel(db, asked.id, "test") == "stopping"
            held.append(asked.id)
        report_cards(db, id, cards)
        report_cards(db, id, [cards[0], *cards[3:]])
        return cls(owner_id, host, id, cards, held)

    def wish(self, **changes: Any) -> Wish:
        return wish(
            self.owner_id, f"{self.host}-{changes['gpus']}", host_id=self.host_id, **changes
        )

    def look(self, db: Database, *there: int) -> None:
        report_cards(db, self.host_id, [self.cards[index] for index in there])

    def more(self, db: Database) -> None:
        new = [card(f"{self.host}/{index}", index, "l4") for index in (6, 7)]
        report_cards(db, self.host_id, self.cards + new)


Do = Callable[[Database, Scene], object]
DO: dict[str, Do] = {
    "reserve": lambda db, s: fleet.reserve_vessel(db, s.wish(gpus=2)),
    "reserve without gpu": lambda db, s: fleet.reserve_vessel(db, s.wish(gpus=0)),
    "bury": lambda db, s: fleet.bury_vessel(db, s.held[0], 1),
    "bury what held a card that is gone": lambda db, s: fleet.bury_vessel(db, s.held[1], 1),
    "look and find all": lambda db, s: s.look(db, 0, 1, 2, 3, 4, 5),
    "look and find none": lambda db, s: s.look(db),
    "look and find others": lambda db, s: s.look(db, 1, 2, 3, 4),
    "look and find more": lambda db, s: s.more(db),
    "cordon": lambda db, s: fleet.cordon_host(db, s.host, True),
    "report it ill": lambda db, s: fleet.report_ill_host(db, s.host_id, "no driver"),
    "move": lambda db, s: fleet.set_host_queues(db, s.host, ["cheap"]),
    "move into one more": lambda db, s: fleet.set_host_queues(db, s.host, ["default", "vision"]),
}


@pytest.fixture
def connections(database_url: str) -> Iterator[list[psycopg.Connection[Row]]]:
    """Two beside the pool's, whose transactions the test begins and ends."""
    connect = psycopg.Connection[Row].connect
    with ExitStack() as stack:
        yield [
            stack.enter_context(connect(database_url, autocommit=True, row_factory=dict_row))
            for _ in range(2)
        ]


WAITS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def one_after_the_other(
    db: Database, connection: psycopg.Connection[Row], first: str, second: str, scene: Scene
) -> None:
    """The second begins before the first commits, and ends after it. Raises what it raises."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            DO[second](db, scene)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    with connection.transaction():
        DO[first](OneConnection(connection), scene)
        thread.start()
        wait_until(lambda: run_sql(db, WAITS) or not thread.is_alive(), "it waits or is done")
    thread.join(timeout=10)
    if failed:
        raise failed[0]


@pytest.mark.parametrize("first", DO)
def test_what_had_to_wait_adds_up(
    db: Database, connections: list[psycopg.Connection[Row]], first: str
) -> None:
    owner_id = add_owner(db)
    for number, second in enumerate(DO):
        if second != first:
            scene = Scene.set(db, owner_id, number)
            one_after_the_other(db, connections[0], first, second, scene)
            check_conservation(db)


def test_a_host_that_somebody_has_is_passed_and_nothing_of_it_is_held(
    db: Database, connections: list[psycopg.Connection[Row]]
) -> None:
    """A counter that were held would be waited for by whoever has its host: a deadlock's half."""
    scene = Scene.set(db, add_owner(db), 1)
    somebody, reserves = connections
    with somebody.transaction(), reserves.transaction():
        somebody.execute("SELECT id FROM host FOR NO KEY UPDATE")
        assert fleet.reserve_vessel(OneConnection(reserves), scene.wish(gpus=1)) == "queued"
        free = "SELECT model FROM gpu_count FOR UPDATE SKIP LOCKED"
        assert {row["model"] for row in run_sql(db, free)} == {"a100", "none"}
