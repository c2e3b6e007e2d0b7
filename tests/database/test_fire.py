"""Everything at once: whatever happens, nothing is lost, nobody deadlocks, nobody waits in vain."""

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from drc import fleet
from drc.api.context import Context
from drc.api.queue import place, serve_queue
from drc.db import Database, Row
from drc.plan import plan
from drc.up.postgres import Postgres
from drc.vessel import State
from tests.database.here import context
from tests.fleets import (
    add_host,
    add_owner,
    card,
    check_conservation,
    count_cards,
    report_cards,
    run_sql,
    wish,
)

THREADS = 64
QUEUES = [["cheap"], ["default"], ["cheap", "default"]]


@dataclass
class Fire:
    here: Context
    owners: list[int]
    hosts: dict[str, tuple[int, list[Row]]]
    """By name: the id, and its cards when none is missing."""
    failed: list[BaseException] = field(default_factory=list[BaseException])
    alive: list[str] = field(default_factory=list[str])
    """Vessels of everybody, placed or waiting. Appending and popping are atomic."""
    seen: set[str] = field(default_factory=set[str])

    @property
    def db(self) -> Database:
        return self.here.db

    def serve(self) -> None:
        """What the waker's thread does; it would only log what goes wrong."""
        try:
            serve_queue(self.here)
        except BaseException as failed:
            self.failed.append(failed)

    def burn(self, turns: int) -> None:
        start = threading.Barrier(THREADS)
        threads = [
            threading.Thread(target=self._user, args=[seed, turns, start])
            for seed in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
            assert not thread.is_alive()

    def _user(self, seed: int, turns: int, start: threading.Barrier) -> None:
        dice = random.Random(seed)
        try:
            start.wait()
            for turn in range(turns):
                self.act(dice, f"v-{seed}-{turn}")
        except BaseException as failed:
            self.failed.append(failed)

    def act(self, dice: random.Random, name: str) -> None:
        what = dice.choice(
            ["create"] * 10 + ["end"] * 7 + ["cordon", "open", "open", "look", "move"]
        )
        host = dice.choice(list(self.hosts))
        match what:
            case "create":
                self.create(dice, name)
            case "end":
                self.end(dice)
            case "cordon":
                fleet.cordon_host(self.db, host, True)
            case "open":
                fleet.cordon_host(self.db, host, False)
                self.here.waker.ring()
            case "look":
                id, cards = self.hosts[host]
                report_cards(self.db, id, [card for card in cards if dice.random() < 0.9])
                self.here.waker.ring()
            case _:
                fleet.set_host_queues(self.db, host, dice.choice(QUEUES))
                self.here.waker.ring()

    def create(self, dice: random.Random, name: str) -> None:
        asked = wish(
            dice.choice(self.owners),
            name,
            gpus=dice.choice([0, 1, 1, 1, 2, 2, 4]),
            models=dice.choice([None, None, ["a100"], ["h100"], ["a100", "h100"]]),
            queues=dice.choice(QUEUES),
        )
        if not asked.gpus:
            asked = wish(asked.owner_id, name, gpus=0, queues=asked.queues)
        self.alive.append(asked.id)  # an operator may end it before it is placed
        state = place(self.here, asked)
        assert state
        self.seen.add(state)

    def end(self, dice: random.Random) -> None:
        try:
            id = self.alive.pop(dice.randrange(len(self.alive) or 1))
        except IndexError:
            return
        if fleet.stop_vessel(self.db, id, "fire") == State.STOPPING:
            assert fleet.bury_vessel(self.db, id, 1) == State.BURIED
            self.here.waker.ring()

    def check(self) -> None:
        """What must be true once it is quiet and the queue was served."""
        self.here.waker.close()
        assert self.failed == []
        serve_queue(self.here)
        check_conservation(self.db)
        assert fleet.next_waiting(self.db, []) is None
        rows = run_sql(self.db, "SELECT id FROM vessel WHERE state = 'queued'")
        waiting = [fleet.read_request(self.db, str(row["id"])) for row in rows]
        places = fleet.list_places(self.db, self.owners[0], "")
        for asked in waiting:
            assert asked
            assert not any(verdict.taken for verdict in plan(places, asked)), asked.need
        assert self.seen == {State.RESERVED, State.QUEUED}


@pytest.fixture
def fire(postgres: Postgres, database: str, tmp_path: Path) -> Iterator[Fire]:
    """The API as it runs, with its own role and threads; it must leave no deadlock in the log."""
    log = postgres.folder / "log"
    before = log.stat().st_size
    with ExitStack() as stack:
        db = Database(postgres.url("drc_api", database), size=32)
        stack.callback(db.close)
        here = stack.enter_context(context(db, tmp_path))
        owners = [add_owner(db, f"owner{number}") for number in range(8)]
        fire = Fire(here, owners, {})
        here.waker.start(fire.serve)
        yield fire
    said = log.read_bytes()[before:].decode()
    assert "deadlock detected" not in said, said


def test_twenty_hosts_under_fire(fire: Fire) -> None:
    for number in range(20):
        name = f"h{number}"
        models = ["a100"] * (number % 3 * 2) + ["h100"] * (number % 4 + 1)
        cards = [
            card(f"{name}/{index}", index, model, island=index // 2)
            for index, model in enumerate(models)
        ]
        id = add_host(fire.db, name, {}, queues=QUEUES[number % 3])
        report_cards(fire.db, id, cards)
        fleet.note_places(fire.db, id, [{"login": f"owner{number % 8}", "mib": None}], [])
        fire.hosts[name] = id, cards
    fire.burn(turns=70)
    fire.check()


LOAD = """
INSERT INTO host (name, ssh_user, ssh_address, probed, committed, queues, cpus, n_gpus, millicpus,
                  millicpus_free, memory_mib, memory_free_mib)
  SELECT 'h' || i, 'root', 'h' || i, true, true,
         CASE i % 3 WHEN 0 THEN '{cheap}'::text[] WHEN 1 THEN '{default}'
                    ELSE '{cheap,default}' END,
         64, 8, 60800, 60800, 486400, 486400
  FROM generate_series(1, 2000) i;
INSERT INTO vessel (id, owner_id, name, state, gpus, image, lifetime, host_id, millicpus,
                    memory_mib, token_hash, request_hash)
  SELECT gen_random_uuid(), 1, 'busy' || id, 'running', 8 - greatest(id % 20 - 15, 0), 'x',
         '7 days', id, 0, 0, '', ''
  FROM host;
INSERT INTO gpu (host_id, uuid, idx, name, model, memory_mib, vessel_id)
  SELECT h.id, h.name || '/' || i, i, 'x', CASE WHEN h.id % 2 = 0 THEN 'a100' ELSE 'h100' END,
         CASE WHEN h.id % 2 = 0 THEN 81920 ELSE 81559 END, CASE WHEN i < v.gpus THEN v.id END
  FROM host h JOIN vessel v ON v.host_id = h.id, generate_series(0, 7) i;
INSERT INTO held (vessel_id, attempt, gpu_id)
  SELECT vessel_id, 1, id FROM gpu WHERE vessel_id IS NOT NULL
"""


def test_two_thousand_hosts_under_fire(fire: Fire, database_url: str) -> None:
    """Four of five hosts are full; the others have up to four cards free."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for text in LOAD.split(";"):
            connection.execute(text.encode())
        count_cards(connection)
        connection.execute("VACUUM ANALYZE")
    rows = run_sql(fire.db, "SELECT id, name FROM host WHERE mod(id, 20) > 14")
    for row in rows:
        model = "h100" if row["id"] % 2 else "a100"
        cards = [card(f"{row['name']}/{index}", index, model) for index in range(8)]
        fire.hosts[row["name"]] = row["id"], cards
    fire.burn(turns=10)
    fire.check()
