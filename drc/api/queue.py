"""Placing vessels: the statement that reserves, asked again where it must be, and who waits."""

import random
import time

from drc import fleet
from drc.api.context import Context
from drc.api.doorbell import EVENTS, WORK
from drc.fleet import Wish
from drc.vessel import State

CONTENDED_TRIES = 12
CONTENDED_PAUSE = 0.01
"""Seconds, randomised; the rows somebody else has locked are free again in a few milliseconds."""


def place(here: Context, wish: Wish) -> State | None:
    """Reserve for a new wish or a waiting one. None: it waits on. Raises NameTaken, RequestChanged.

    A new vessel that has to wait is looked at once more after its commit: whoever freed a GPU
    meanwhile did not see it. A miss that is only contention is asked again.
    """
    state: State | None = None
    untold = False
    for attempt in range(CONTENDED_TRIES):
        row = fleet.reserve_vessel(here.db, wish)
        first_wait = row["state"] == State.QUEUED
        untold = untold or (first_wait and row["contended"])
        state = State(row["state"]) if row["state"] else state
        if state == State.RESERVED or not (row["contended"] or first_wait):
            break
        if row["contended"]:
            time.sleep(random.uniform(0.5, 1.5) * CONTENDED_PAUSE * min(attempt + 1, 5))  # noqa: S311
    if untold and state == State.QUEUED:
        fleet.note_queued(here.db, wish.id)
    if state is not None:
        here.doorbell.ring(WORK, EVENTS)
    return state


def serve_queue(here: Context) -> int:
    """Try every waiting vessel in its order. Returns how many were placed."""
    placed = 0
    for id in fleet.list_waiting(here.db):
        wish = fleet.read_request(here.db, id)
        if wish and place(here, wish):
            placed += 1
    return placed
