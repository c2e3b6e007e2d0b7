"""The event stream: in an order that readers can follow without missing what commits late."""

import asyncio
import threading
from typing import Any

import psycopg
import pytest

from drc import fleet
from drc.api.stream import Stream
from drc.db import Database, Row
from drc.fleet import EVENTS
from tests.fleets import add_host, add_owner, wish
from tests.wait import wait_until


def say(connection: Any, kind: str) -> None:
    connection.execute("INSERT INTO event (kind) VALUES (%s)", [kind])


def read(db: Database, place: tuple[str, int]) -> tuple[list[str], tuple[str, int]]:
    rows = fleet.read_events(db, place)
    if rows:
        place = rows[-1]["xid"], rows[-1]["id"]
    return [row["kind"] for row in rows], place


def test_nothing_is_shown_that_an_open_transaction_could_still_come_before(db: Database) -> None:
    """The early transaction takes its id first and commits last; a reader by id would miss it."""
    place = fleet.read_place(db)
    with psycopg.connect(db.url) as early, psycopg.connect(db.url) as late:
        say(early, "early")
        say(late, "late")
        late.commit()
        kinds, place = read(db, place)
        assert kinds == []
        early.commit()
        kinds, place = read(db, place)
        assert kinds == ["early", "late"]
        assert read(db, place)[0] == []


def test_a_reader_among_writers_misses_nothing_and_sees_nothing_twice(db: Database) -> None:
    place, seen = fleet.read_place(db), []
    written = threading.Event()

    def writer(name: int) -> None:
        with psycopg.connect(db.url) as connection:
            for turn in range(25):
                say(connection, f"{name}-{turn}-a")
                say(connection, f"{name}-{turn}-b")
                connection.commit()

    def writers() -> None:
        threads = [threading.Thread(target=writer, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        written.set()

    chief = threading.Thread(target=writers)
    chief.start()
    while True:
        last = written.is_set()
        kinds, place = read(db, place)
        seen += kinds
        if last and not kinds:
            break
    chief.join()
    assert len(seen) == len(set(seen)) == 4 * 25 * 2
    for name in range(4):
        mine = [kind for kind in seen if kind.startswith(f"{name}-")]
        assert mine == [f"{name}-{turn}-{part}" for turn in range(25) for part in "ab"]


def test_a_place_read_now_is_before_everything_that_comes(db: Database) -> None:
    with psycopg.connect(db.url) as early:
        say(early, "early")
        place = fleet.read_place(db)
        early.commit()
    assert read(db, place)[0] == ["early"]


def test_owners_and_vessels_have_their_own_events(db: Database) -> None:
    add_host(db, "gpu1", {"a100": 4})
    ada, bob = add_owner(db, "ada"), add_owner(db, "bob")
    asked = [wish(ada, "bert"), wish(ada, "otter"), wish(bob, "bert")]
    for one in asked:
        fleet.reserve_vessel(db, one)

    def ids(owner_id: int, **of: Any) -> list[str]:
        rows = fleet.read_owner_events(db, ("0", 0), owner_id, **of)
        return [str(row["vessel_id"]) for row in rows]

    everybody = fleet.read_events(db, ("0", 0))
    assert [str(row["vessel_id"]) for row in everybody] == [one.id for one in asked]
    assert ids(ada) == [asked[0].id, asked[1].id]
    assert ids(ada, vessel_id=asked[0].id) == [asked[0].id]
    assert ids(bob, vessel_id=asked[0].id) == []


def test_events_come_in_pages(db: Database) -> None:
    with psycopg.connect(db.url) as connection:
        for number in range(7):
            say(connection, str(number))
    place, seen = ("0", 0), []
    while rows := fleet.read_events(db, place, most=3):
        assert len(rows) <= 3
        seen += [row["kind"] for row in rows]
        place = rows[-1]["xid"], rows[-1]["id"]
    assert seen == [str(number) for number in range(7)]


class Interrupted(Database):
    """Does something of the test's before the stream asks where it ends, or a follower reads."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before_place: Any = lambda: None
        self.before_catching_up: Any = lambda: None

    def all(self, query: str, /, **parameters: Any) -> list[Row]:
        if query == "read_owner_events":
            hook, self.before_catching_up = self.before_catching_up, lambda: None
            hook()
        return super().all(query, **parameters)

    def one(self, query: str, /, **parameters: Any) -> Row | None:
        if query == "read_place":
            hook, self.before_place = self.before_place, lambda: None
            hook()
        return super().one(query, **parameters)


@pytest.fixture
def interrupted(database_url: str) -> Any:
    database = Interrupted(database_url)
    yield database
    database.close()


def test_a_follower_that_comes_while_the_reader_looks_away_loses_nothing(
    interrupted: Interrupted, db: Database
) -> None:
    """It caught up before the event, so the reader must not step over that."""
    stream = Stream(interrupted)
    stream.close()  # the thread; the test is the reader now
    given: list[str] = []

    class Follower:
        loop = property(lambda self: self)

        def wants(self, row: Row) -> bool:
            return True

        def put(self, row: Row) -> None:
            given.append(row["kind"])

        def call_soon_threadsafe(self, put: Any, row: Row) -> None:
            put(row)

    def a_follower_comes_and_then_an_event() -> None:
        stream.followers.add(Follower())  # type: ignore[arg-type]
        with psycopg.connect(db.url) as connection:
            say(connection, "in between")

    interrupted.before_place = a_follower_comes_and_then_an_event
    stream._feed()
    assert given == ["in between"]


def test_what_a_follower_caught_up_with_is_not_given_to_it_again(
    interrupted: Interrupted, db: Database
) -> None:
    """The reader gives it an event that its own catching up then finds as well."""
    owner, stream = add_owner(db), Stream(interrupted)

    def happen(kind: str) -> None:
        with psycopg.connect(db.url) as connection:
            connection.execute("INSERT INTO event (kind, owner_id) VALUES (%s, %s)", [kind, owner])
        db.ring(EVENTS)

    def the_reader_is_first() -> None:
        (follower,) = stream.followers
        happen("both ways")
        wait_until(follower.queue.qsize, "the reader gives the event to the follower")

    interrupted.before_catching_up = the_reader_is_first

    async def follow() -> list[str]:
        kinds: list[str] = []
        async for text in stream.follow(("0", 0), owner, None):
            kinds += [line[7:] for line in text.splitlines() if line.startswith("event: ")]
            if kinds == ["both ways"]:
                happen("last")
            if kinds[-1:] == ["last"]:
                break
        return kinds

    try:
        assert asyncio.run(asyncio.wait_for(follow(), 20)) == ["both ways", "last"]
    finally:
        stream.close()
