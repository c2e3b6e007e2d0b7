"""A request's id: from the command line through API, outbox and conductor, back into the events."""

import json
import logging
import re
from typing import Any

import httpx
import pytest

from drc.db import Database
from drc.log import HEADER, Logfmt
from tests.fleets import run_sql
from tests.wait import wait_until
from tests.wire.page import answering
from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal, lines

MINE = "0f0e0d0c0b0a09080706050403020100"


def events(drc: Terminal, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in drc("events", *words, "--json").out.splitlines()]


def test_one_id_goes_from_the_command_line_through_all_of_a_start(
    drc: Terminal, standin: StandIn, db: Database
) -> None:
    assert drc("create", "bert", "--no-wait").status == 0
    (row,) = run_sql(db, "SELECT request FROM outbox")
    work = standin.claim()
    assert work is not None
    assert (work.request, work.host) == (row["request"], "gpu1")
    standin.do(work)
    told = events(drc, "bert")
    assert [event["kind"] for event in told][-1] == "running"
    assert {event["request"] for event in told} == {row["request"]}
    (entry,) = run_sql(db, "SELECT actor FROM audit WHERE action = 'vessels:create'")
    assert entry["actor"]["request"] == row["request"]


def test_each_command_has_an_id_of_its_own_and_the_story_says_which_did_what(
    drc: Terminal, standin: StandIn
) -> None:
    drc("create", "bert", "--no-wait")
    standin.run_once()
    drc("stop", "bert", "--no-wait")
    standin.run_once()
    told = [(event["kind"], event["request"]) for event in events(drc, "bert")]
    first, last = told[0][1], told[-1][1]
    assert first != last
    by_last = [kind for kind, request in told if request == last]
    assert by_last == ["stopping", "buried"]
    assert {request for kind, request in told if kind not in by_last} == {first}
    shown = lines(drc("events", "bert", "--request", last[:8]).out)
    assert [row[1] for row in shown] == by_last
    assert {row[2] for row in shown} == {last[:8]}
    assert "is not a request's ID" in drc("events", "--request", "a b").err


def test_one_that_waited_starts_under_the_id_of_its_create(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    api.create("first", gpus=4)
    standin.run_once()
    drc("create", "bert", "--gpus", "4", "--no-wait")
    api.raw("POST", "/v1/vessels/first/stop")
    with standin.at_work():
        for event in api_events(api, "bert"):
            if event["kind"] == "running":
                break
    told = events(drc, "bert")
    assert told[0]["kind"] == "queued"
    assert told[-1]["kind"] == "running"
    assert len({event["request"] for event in told}) == 1


def api_events(api: Api, name: str) -> Any:
    with api.client() as client:
        yield from client.events(after="0-0", vessel=name)


def test_keys_reach_vessels_under_the_id_of_who_changed_them(
    api: Api, standin: StandIn, db: Database
) -> None:
    api.create("bert")
    standin.run_once()
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKJ6sLvUzbhS0Vl2uPp9GqgkXbJbzKvVhJq8rXyZ3xQ1 x"
    api.raw("POST", "/v1/keys", {"key": key}, headers={HEADER: MINE})
    assert run_sql(db, "SELECT verb, request FROM outbox") == [{"verb": "keys", "request": MINE}]


@pytest.mark.parametrize(
    ("sent", "taken"),
    [(MINE, True), ("short", False), ("a" * 65, False), ('x" level=error', False), ("", False)],
)
def test_an_id_that_cannot_be_one_is_replaced(api: Api, sent: str, taken: bool) -> None:
    answer = api.raw("GET", "/v1/vessels/nobody", headers={HEADER: sent})
    id = answer.headers[HEADER]
    assert (id == sent) is taken
    assert re.fullmatch("[0-9a-f]{32}", id)
    assert answer.json()["request_id"] == id


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/v1/vessels"])
def test_every_answer_bears_an_id_for_strangers_too(api: Api, path: str) -> None:
    ids = {httpx.get(api.url + path, trust_env=False).headers[HEADER] for _ in range(2)}
    assert len(ids) == 2


def test_what_one_refused_is_not_bothered_with_an_id(drc: Terminal, api: Api) -> None:
    said = drc("show", "nobody")
    assert said.status == 1
    assert "log" not in said.err


def test_what_does_not_answer_is_found_in_the_log_by_its_id(drc: Terminal, api: Api) -> None:
    api.context.db.close()
    said = drc("show", "bert")
    assert said.status == 4
    assert re.search("In the API's log it is [0-9a-f]{32}", said.err)


def test_a_bug_is_found_in_the_log_by_its_id(
    drc: Terminal, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """Its answer is sent from outside of what knows the request."""
    api.context.capacity = None  # type: ignore[assignment]
    caplog.handler.setFormatter(Logfmt())
    said = drc("create", "bert")
    found = re.search("In the API's log it is ([0-9a-f]{32})", said.err)
    assert found is not None, said.err
    (line,) = [line for line in caplog.text.splitlines() if "logger=drc.api " in line]
    assert f" request={found[1]} error=" in line
    assert "Traceback" in line
    answer = api.raw("POST", "/v1/vessels", {"name": "bert"}, headers={HEADER: MINE})
    assert (answer.status_code, answer.json()["request_id"]) == (500, MINE)
    assert answer.headers[HEADER] == MINE


def test_a_line_for_each_request_says_who_asked_for_what_and_not_for_whom(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="drc.api.request")
    api.raw("GET", "/health", token=None)
    api.raw("GET", "/v1/vessels/bert")
    api.raw("GET", "/v1/vessels/bert", token=None)

    def told() -> list[dict[str, Any]]:  # a line is written when its answer is out
        return [r.more for r in caplog.records if r.name == "drc.api.request"]  # type: ignore[attr-defined]

    wait_until(lambda: len(told()) == 2, "both lines are written")
    assert [(one["who"], one["route"], one["status"]) for one in told()] == [
        ("ada", "/v1/vessels/{name}", 404),
        ("nobody", "/v1/vessels/{name}", 401),
    ]
    assert "bert" not in str(told())


def test_an_answer_of_something_else_is_no_reason_to_stumble(drc: Terminal) -> None:
    with answering(b"<html>") as url:
        drc.url = url
        assert drc("list").status == 4
