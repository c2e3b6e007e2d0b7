"""Placing vessels: the statement that reserves, asked again where it must be, and who waits."""

import random
import time

from drc import fleet
from drc.api.context import Context
from drc.api.metrics import RESERVATIONS
from drc.fleet import EVENTS, WORK, Wish
from drc.log import bound
from drc.vessel import State

CONTENDED_TRIES = 12
CONTENDED_PAUSE = 0.01
"""Seconds, randomised; the rows somebody else has locked are free again in a few milliseconds."""


def rare_image(here: Context, wish: Wish) -> str | None:
    """The image that decides between equal fits. Every host has the default one, or soon will."""
    return None if wish.image == here.default_image else wish.image


def place(here: Context, wish: Wish, *, waits: bool = False) -> State | None:
    """Reserve for a new wish or a waiting one. None: it waits on, or waits no longer.

    A miss that is only contention is asked again before anybody is told to wait. Raises NameTaken,
    RequestChanged.
    """
    near = fleet.find_near_host(here.db, wish, rare_image(here, wish))
    state = fleet.reserve_vessel(here.db, wish, waits=waits, near_id=near)
    for attempt in range(CONTENDED_TRIES):
        if state not in (State.QUEUED, None):
            break
        if not fleet.is_contended(here.db, wish.id):
            break
        RESERVATIONS.labels("contended").inc()
        if near is None:
            time.sleep(random.uniform(0.5, 1.5) * CONTENDED_PAUSE * min(attempt + 1, 5))  # noqa: S311
        near = None
        state = fleet.reserve_vessel(here.db, wish, waits=True) or state
    if state is not None:
        RESERVATIONS.labels("placed" if waits else str(state)).inc()
    if state == State.QUEUED:
        fleet.note_queued(here.db, wish.id)
        here.waker.ring()  # whoever freed a GPU before this one's commit did not see it
    if state is not None:
        here.doorbell.ring(WORK, EVENTS)
    return state


def place_waiting(here: Context, wish: Wish) -> bool:
    """As part of the request that made it wait."""
    with bound(request=wish.request):
        return place(here, wish, waits=True) == State.RESERVED


def serve_queue(here: Context) -> int:
    """Place whoever waits and fits, the longest waiting first. Returns how many were placed."""
    placed, skip = 0, list[str]()
    while id := fleet.next_waiting(here.db, skip):
        wish = fleet.read_request(here.db, id)
        if wish and place_waiting(here, wish):
            placed += 1
        elif wish:
            skip.append(id)
    return placed
