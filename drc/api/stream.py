"""Server-sent events: one thread per process reads the event table and feeds every follower."""

import asyncio
import contextlib
import json
import logging
import math
import re
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from drc import fleet
from drc.db import Database, Row
from drc.errors import BadInput, DatabaseUnreachable
from drc.fleet import EVENTS

PATIENCE = 1.0  # seconds without a ring after which the reader looks anyway
KEEP_ALIVE = 15.0  # seconds of silence after which a comment is sent; proxies cut at 30 to 60
BEHIND = 10_000  # events that a follower may lag behind before it is cut off, to come back

log = logging.getLogger("drc.api.stream")

Place = tuple[str, int]


def parse_place(text: str) -> Place:
    """`xid-id`, as the stream's `id:` lines say it. Raises BadInput."""
    found = re.fullmatch(r"([0-9]{1,20})-([0-9]{1,19})", text)
    if not found or int(found[1]) >= 2**64 or int(found[2]) >= 2**63:  # xid8 and bigint
        raise BadInput(f"“{text}” is not a place in the event stream.")
    return found[1], int(found[2])


@dataclass(eq=False, slots=True)
class Follower:
    owner_id: int | None
    vessel_id: str | None
    request: str | None
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Row | None] = field(default_factory=lambda: asyncio.Queue(BEHIND))

    def wants(self, row: Row) -> bool:
        return (
            self.owner_id in (None, row["owner_id"])
            and self.vessel_id in (None, str(row["vessel_id"]))
            and (row["request"] or "").startswith(self.request or "")
        )

    def put(self, row: Row | None) -> None:
        try:
            self.queue.put_nowait(row)
        except asyncio.QueueFull:
            while not self.queue.empty():  # all of it: what came after a gap would hide the gap
                self.queue.get_nowait()
            self.queue.put_nowait(None)


class Stream:
    def __init__(self, db: Database) -> None:
        self.db = db
        self.followers: set[Follower] = set()
        self.closed = threading.Event()
        self.place = fleet.read_place(db)
        self.thread = threading.Thread(target=self._run, name="event-reader", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.closed.is_set():
            try:
                for _ in self.db.listen(EVENTS, patience=PATIENCE):
                    if self.closed.is_set():
                        return
                    self._feed()
            except DatabaseUnreachable as failed:
                log.warning("%s", failed)
                self.closed.wait(1)

    def _feed(self) -> None:
        """Give every follower what is new. With none there, the place moves to the end at once.

        The end is read before looking whether one came: a follower adds itself before it catches
        up, so that whatever lies before that end is in what it catches up with.
        """
        while True:
            if not self.followers:
                end = fleet.read_place(self.db)
                if not self.followers:
                    self.place = end
                    return
            rows = fleet.read_events(self.db, self.place)
            for row in rows:
                self.place = row["xid"], row["id"]
                for follower in list(self.followers):
                    if follower.wants(row):
                        follower.loop.call_soon_threadsafe(follower.put, row)
            if len(rows) < 500:
                return

    def _before(self, after: Place, owner_id: int | None, vessel_id: str | None) -> list[Row]:
        if owner_id is None:
            return fleet.read_events(self.db, after)
        return fleet.read_owner_events(self.db, after, owner_id, vessel_id=vessel_id)

    async def follow(
        self,
        after: Place,
        owner_id: int | None,
        vessel_id: str | None,
        *,
        request: str | None = None,
        on: bool = True,
        life: float = math.inf,
    ) -> AsyncIterator[str]:
        """The events after a place, then (if `on`) those that come, as server-sent events.

        `owner_id` None: everybody's, and then of every vessel. `request`: how the id of what caused
        them begins. `life`: seconds after which it ends,
        so that whoever follows shows again who they are.
        """
        me = Follower(owner_id, vessel_id, request, asyncio.get_running_loop())
        self.followers.add(me)  # before catching up, so that nothing falls between
        try:
            yield ": hello\n\n"
            while True:
                rows = await run_in_threadpool(self._before, after, owner_id, vessel_id)
                for row in rows:
                    after = row["xid"], row["id"]
                    if me.wants(row):
                        yield encode(row)
                if len(rows) < 500:
                    break
            end = time.monotonic() + life
            while on and not self.closed.is_set() and time.monotonic() < end:
                try:
                    row = await asyncio.wait_for(me.queue.get(), KEEP_ALIVE)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if row is None:
                    return  # too far behind, or closing: the client comes back with its place
                if (int(row["xid"]), row["id"]) > (int(after[0]), after[1]):
                    yield encode(row)
        finally:
            self.followers.discard(me)

    def close(self) -> None:
        self.closed.set()
        for follower in list(self.followers):
            follower.loop.call_soon_threadsafe(follower.put, None)
        with contextlib.suppress(DatabaseUnreachable):
            self.db.ring(EVENTS)  # wakes the reader, which need not wait out its patience then
        self.thread.join(timeout=5)


def event_view(row: Row) -> dict[str, Any]:
    return {
        "at": row["at"].isoformat(),
        "kind": row["kind"],
        "vessel": row["vessel"],
        "vessel_id": str(row["vessel_id"]) if row["vessel_id"] else None,
        "attempt": row["attempt"],
        "request": row["request"],
        **row["data"],
    }


def encode(row: Row) -> str:
    data = json.dumps(event_view(row))
    return f"id: {row['xid']}-{row['id']}\nevent: {row['kind']}\ndata: {data}\n\n"
