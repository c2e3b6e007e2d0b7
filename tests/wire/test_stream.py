"""Server-sent events over real HTTP: resumed from a place, nothing is lost and nothing repeated."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from drc.db import Database
from tests.fleets import add_owner
from tests.wire.served import Api
from tests.wire.standin import StandIn


def read(
    api: Api, last: str | None = None, subject: str = "ada", **params: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, event) of one connection, as a browser's EventSource would see them."""
    headers = {"Authorization": f"Bearer {api.token(subject)}"}
    headers |= {"Last-Event-ID": last} if last else {}
    place = ""
    deadline = time.monotonic() + 20  # the API says every 15 s that it is still there
    with httpx.stream(
        "GET", f"{api.url}/v1/events", headers=headers, params=params, timeout=20, trust_env=False
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            assert time.monotonic() < deadline, "the event that was waited for did not come"
            field, _, value = line.partition(": ")
            if field == "id":
                place = value
            elif field == "data":
                yield place, json.loads(value)


def history(api: Api, **params: Any) -> list[dict[str, Any]]:
    return [event for _, event in read(api, after="0-0", follow="false", **params)]


def test_a_reader_that_breaks_off_again_and_again_loses_and_repeats_nothing(
    api: Api, db: Database
) -> None:
    """Four writers at once, whose ids and commits interleave, and connections of a few events."""
    owner, turns, writers = add_owner(db, "ada"), 15, 4

    def write(number: int) -> None:
        with psycopg.connect(db.url) as connection:
            for turn in range(turns):
                for part in "ab":
                    connection.execute(
                        "INSERT INTO event (kind, owner_id) VALUES (%s, %s)",
                        [f"{number}-{turn}-{part}", owner],
                    )
                connection.commit()
                db.ring("drc_events")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[str] = []
    place, expected, connections = "0-0", 2 * turns * writers, 0
    deadline = time.monotonic() + 30
    while len(seen) < expected:
        assert time.monotonic() < deadline, f"{len(seen)} of {expected} events came"
        connections += 1
        # every second connection catches up only; the others wait for what comes
        follow = "true" if connections % 2 else "false"
        for taken, (at, event) in enumerate(read(api, last=place, follow=follow), 1):
            place = at
            seen.append(event["kind"])
            if taken == 1 + connections % 7 or len(seen) == expected:
                break
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(seen) == sorted(
        f"{number}-{turn}-{part}"
        for number in range(writers)
        for turn in range(turns)
        for part in "ab"
    )
    assert seen == [event["kind"] for event in history(api)]
    assert connections > 10


def test_events_come_as_they_happen(api: Api, standin: StandIn) -> None:
    api.create("bert")
    kinds = []
    for _, event in read(api, after="0-0", vessel="bert"):
        kinds.append(event["kind"])
        if event["kind"] == "reserved":
            standin.run_once()
        if event["kind"] == "running":
            break
    assert kinds == [
        "reserved", "starting", "image_ready", "ssh_ready", "jupyter_ready", "running",
    ]  # fmt: skip


def test_without_a_place_the_stream_begins_now(api: Api, host: int) -> None:
    api.create("before")
    stream = read(api)
    begun = threading.Event()
    came: list[Any] = []

    def follow() -> None:
        for _, event in stream:
            came.append(event["vessel"])
            begun.set()
            if event["vessel"] == "last":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(200):  # until the reader is there; each is an event that it may see
        api.create(f"v-{number}", gpus=0, cpus=0.1, memory="16MiB")
        if begun.wait(0.02):
            break
    api.create("last", gpus=0, cpus=0.1, memory="16MiB")
    thread.join(timeout=20)
    assert came[-1] == "last"
    assert "before" not in came


def test_one_sees_ones_own_events(api: Api, host: int) -> None:
    api.create("bert")
    api.create("otter")
    api.create("theirs", subject="bob")
    assert [e["vessel"] for e in history(api)] == ["bert", "otter"]
    assert [e["vessel"] for e in history(api, vessel="otter")] == ["otter"]
    assert [e["vessel"] for e in history(api, subject="bob")] == ["theirs"]
    assert history(api, subject="carol") == []


@pytest.mark.parametrize(
    "place", ["x", "1", "²-0", "99999999999999999999-0", "0-99999999999999999999"]
)
def test_what_is_no_place_is_a_problem(api: Api, place: str) -> None:
    answer = api.raw("GET", "/v1/events", params={"after": place})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-input")


def test_a_stream_of_a_vessel_that_is_not_ones_own_is_not_there(api: Api, host: int) -> None:
    api.create("bert")
    answer = api.raw("GET", "/v1/events?vessel=bert", token=api.token("bob"))
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-vessel")
