"""Places in the event stream, and a follower that falls behind."""

import asyncio
from typing import Any

import pytest

from drc.api.stream import Follower, parse_place
from drc.errors import BadInput


@pytest.mark.parametrize(
    ("text", "place"), [("0-0", ("0", 0)), ("7421-19", ("7421", 19)), ("0007-1", ("0007", 1))]
)
def test_a_place_is_what_the_stream_said(text: str, place: tuple[str, int]) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize(
    "text",
    ["", "-", "1", "1-", "-1", "a-b", "1-2-3", "²-0", "٤-٤", "1-²", "1 - 2", "+1-2",
     "18446744073709551616-0", "0-9223372036854775808", "9" * 30 + "-1"],
)  # fmt: skip
def test_what_is_no_place_is_refused(text: str) -> None:
    """The last ones are numbers, but none that the database could hold."""
    with pytest.raises(BadInput, match="not a place"):
        parse_place(text)


def rows(*ids: int) -> list[dict[str, Any]]:
    return [{"xid": "7", "id": id} for id in ids]


def test_a_follower_that_falls_behind_is_cut_off_before_a_gap() -> None:
    """It comes back with its place; an event dropped in front of later ones would be lost."""

    async def overrun() -> list[Any]:
        me = Follower(None, None, None, asyncio.get_running_loop(), asyncio.Queue(3))
        for row in rows(1, 2, 3, 4, 5):
            me.put(row)
        seen = []
        while (row := me.queue.get_nowait()) is not None:
            seen.append(row["id"])
        return seen

    seen = asyncio.run(overrun())
    assert seen == list(range(1, len(seen) + 1))


def test_a_follower_wants_its_owners_events_of_its_vessel() -> None:
    async def wants(
        owner: int | None, vessel: str | None, request: str | None = None
    ) -> list[bool]:
        me = Follower(owner, vessel, request, asyncio.get_running_loop())
        events = [(1, "a", "r1"), (1, "b", "r2"), (2, "a", None), (None, "a", "r2"), (1, None, "r")]
        return [me.wants({"owner_id": o, "vessel_id": v, "request": r}) for o, v, r in events]

    assert asyncio.run(wants(None, None)) == [True] * 5
    assert asyncio.run(wants(1, None)) == [True, True, False, False, True]
    assert asyncio.run(wants(1, "a")) == [True, False, False, False, False]
    assert asyncio.run(wants(None, None, "r2")) == [False, True, False, True, False]
