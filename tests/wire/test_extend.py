"""`drc extend`: the end of a life is moved, shown, and told to whoever follows."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from drc.db import Database
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal, lines
from undertaker.policy import Policies
from undertaker.round import run_once

DAY = timedelta(days=1)
DATE = r"\w{3} \d{1,2} \w{3}( \d{4})? \d\d:\d\d"


def ends_in(api: Api, name: str = "bert") -> timedelta:
    return datetime.fromisoformat(api.show(name)["ends_at"]) - datetime.now(UTC)


@pytest.fixture
def bert(api: Api, standin: StandIn) -> str:
    api.create("bert", lifetime="2d")
    standin.run_once()
    return "bert"


def test_without_a_word_it_lives_a_week_from_now(drc: Terminal, api: Api, bert: str) -> None:
    said = drc("extend", bert)
    assert (said.status, said.out) == (0, "")
    assert re.fullmatch(rf"bert ends in 7d, on {DATE}\.\n", said.err)
    assert 7 * DAY - timedelta(minutes=1) < ends_in(api) <= 7 * DAY


def test_a_span_is_added_to_the_end_that_it_has(drc: Terminal, api: Api, bert: str) -> None:
    before = datetime.fromisoformat(api.show(bert)["ends_at"])
    assert "bert ends in 5d, on" in drc("extend", bert, "--by", "3d").err
    said = drc("extend", bert, "--by", "12h", "--json")
    assert json.loads(said.out) == api.show(bert) | {"homes": []}
    after = datetime.fromisoformat(api.show(bert)["ends_at"])
    assert after - before == timedelta(days=3, hours=12)
    assert drc("extend", bert).err.startswith("bert ends in 7d")  # a week is more than that
    drc("extend", bert, "--by", "1w")
    assert drc("extend", bert).err.startswith("bert ends in 14d")  # and never less


def test_a_day_is_meant_to_its_end_on_the_clock_of_who_types(
    drc: Terminal, api: Api, bert: str
) -> None:
    drc.more["TZ"] = "Asia/Tokyo"
    day = (datetime.now(UTC) + 30 * DAY).date()
    said = drc("extend", bert, "--until", str(day))
    assert f"{day.day} {day:%b}" in said.err
    assert "23:59." in said.err
    assert api.show(bert)["ends_at"] == f"{day}T14:59:00Z"
    drc("extend", bert, "--until", f"{day} 08:30")
    assert api.show(bert)["ends_at"] == f"{day - DAY}T23:30:00Z"
    drc("extend", bert, "--until", f"{day}T08:30+01:00")
    assert api.show(bert)["ends_at"] == f"{day}T07:30:00Z"


def test_the_end_is_shown_and_the_event_told(drc: Terminal, api: Api, bert: str) -> None:
    drc("extend", bert, "--by", "3d")
    shown = dict(line for line in lines(drc("show", bert).out) if len(line) == 2)
    assert re.fullmatch(rf"5d, on {DATE}", shown["ends in"])
    assert lines(drc("list").out)[1][-1] == "5d"
    event = json.loads(drc("events", bert, "--json").out.splitlines()[-1])
    assert (event["kind"], event["vessel"]) == ("extended", bert)
    assert event["ends_at"][:19] == api.show(bert)["ends_at"][:19]


def test_a_list_says_what_ends_soon_and_what_keeps_it(
    drc: Terminal, api: Api, bert: str, db: Database
) -> None:
    assert drc("list").err == ""
    run_sql(db, "UPDATE vessel SET ends_at = now() + interval '4 hours 1 minute 45 seconds'")
    assert drc("list").err == ""  # nobody needs to be told so of a life that is short
    run_sql(db, "UPDATE vessel SET created_at = created_at - interval '2 days'")
    assert drc("list").err == "bert ends in 4h 1min.  drc extend bert  keeps it.\n"
    drc("extend", bert)
    assert drc("list").err == ""


REFUSED: list[tuple[tuple[str, ...], list[str]]] = [
    (("--by", "1000d"), ["A vessel ends at most 90 days from now.", "drc extend bert --by 88d"]),
    (("--by", "999999w"), ["A vessel ends at most 90 days from now."]),
    (("--until", "2999-01-01"), ["A vessel ends at most 90 days from now."]),
    (("--until", "2020-01-01"), ["That end of bert is past.", "drc stop bert"]),
    (("--until", "soon"), ["“soon” is not a time.", "2026-08-31"]),
    (("--until", ""), ["“” is not a time."]),
    (("--until", "2026-02-30"), ["“2026-02-30” is not a time."]),
    (("--until", "0001-01-01"), ["“0001-01-01” is not a time."]),
    (("--by", "soon"), ["“soon” is not a lifetime.", "2d"]),
    (("--by", "-3d"), ["“-3d” is not a lifetime."]),
    (("--by", ""), ["“” is not a lifetime."]),
    (("--by", "0d"), ["“0d” moves nothing.", "--by 3d"]),
    (("--by", "1d", "--until", "2026-09-01"), ["not both", "--by or --until"]),
]


def test_an_end_that_cannot_be_is_a_sentence(drc: Terminal, api: Api, bert: str) -> None:
    before = api.show(bert)["ends_at"]
    for words, sentences in REFUSED:
        said = drc("extend", bert, *words)
        assert (said.status, said.out) == (1, ""), words
        for sentence in sentences:
            assert sentence in said.err, words
        assert "bug" not in said.err
    assert api.show(bert)["ends_at"] == before


def test_the_api_takes_no_time_without_a_zone(api: Api, bert: str) -> None:
    for until in ("2026-09-01T00:00:00", "x", 10**20, "9999-12-31T23:59:59-14:00"):
        answer = api.raw("POST", "/v1/vessels/bert/extend", {"until": until})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad-input")


def test_only_a_life_that_goes_on_has_an_end_to_move(
    drc: Terminal, api: Api, standin: StandIn, bert: str
) -> None:
    api.create("waits", gpus=4)
    said = drc("extend", "waits")
    assert (said.status, said.err) == (
        1,
        "waits still waits; its life begins once it has what it waits for.\n",
    )
    drc("stop", bert, "--no-wait")
    said = drc("extend", bert)
    assert (said.status, said.err) == (1, "bert is stopping.\n  drc create bert\n")
    standin.run_once()
    assert drc("extend", bert).err == "bert is buried.\n  drc create bert\n"


def test_an_unknown_name_says_which_was_meant(
    drc: Terminal, terminal: Callable[[str], Terminal], bert: str
) -> None:
    said = drc("extend", "brt")
    assert (said.status, said.err) == (
        1,
        "You have no vessel called brt.\n  Did you mean bert?  drc list  shows all.\n",
    )
    assert drc("extend", "zzz").err == "You have no vessel called zzz.\n  drc list\n"
    assert drc("extend", "a/b").err == "You have no vessel called a/b.\n  drc list\n"
    said = terminal("bob")("extend", "bert")  # and nobody learns another's names
    assert said.err == "You have no vessel called bert.\n  drc list\n"


def test_one_that_shares_ends_with_the_other_all_the_same(drc: Terminal, api: Api, bert: str):
    api.create("eval", share="bert", cpus=1, memory="1GB")
    said = drc("extend", "eval", "--by", "3d")
    assert said.err.endswith("But no later than bert, whose GPUs it shares.\n")


def test_the_undertaker_leaves_alone_what_was_extended(
    drc: Terminal, api: Api, bert: str, postgres: Postgres, database: str
) -> None:
    drc("extend", bert, "--by", "3d")
    eyes = Database(postgres.url("drc_undertaker", database), size=1)
    now = datetime.now(UTC)
    with api.client("undertaker", "undertaker") as client:
        assert run_once(eyes, client, now + 4 * DAY, Policies(), None) == {"keep": 1}
        assert run_once(eyes, client, now + 6 * DAY, Policies(), None) == {"bury": 1}
    eyes.close()
