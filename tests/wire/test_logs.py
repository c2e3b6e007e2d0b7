"""What a vessel said last stays readable when it has ended, with when and why it did."""

import json
import re
from datetime import timedelta

import pytest

from drc import fleet
from drc.api import sweep
from drc.db import Database
from drc.trouble import Kind
from drc.vessel import RESERVED_LIMIT
from tests.fleets import run_sql
from tests.wire.served import Api
from tests.wire.standin import LOG, StandIn
from tests.wire.terminal import Terminal, lines

SINCE = r"\d+ s ago, on \w{3} \d{1,2} \w{3} \d\d:\d\d"


def end(api: Api, standin: StandIn, name: str, log: str | None, reason: str = "") -> str:
    """A vessel that came up, and ended with that log; for that reason it failed."""
    id = api.create(name)["id"]
    work = standin.take("start")
    standin.bring_up(work)
    if reason:
        standin.tell.fail(work, reason)
    else:
        api.raw("POST", f"/v1/vessels/{name}/stop")
    standin.tell.absent(work, log)
    fleet.finish_work(standin.db, work.id, standin.name, work.generation)
    run_sql(api.context.db, "DELETE FROM outbox")
    return id


def test_a_buried_vessels_last_lines_stay_and_say_when_and_why(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    end(api, standin, "bert", "one\ntwo\n")
    said = drc("logs", "bert")
    assert (said.status, said.out) == (0, "one\ntwo\n")
    assert re.fullmatch(rf"bert was buried {SINCE}: stopped by its owner\.\n", said.err)
    shown = dict(line for line in lines(drc("show", "bert").out) if len(line) == 2)
    assert re.fullmatch(r"buried for \d+ s, since \w{3} \d{1,2} \w{3} \d\d:\d\d", shown["state"])
    assert shown["why"] == "stopped by its owner"


def test_a_failed_ones_too(drc: Terminal, api: Api, standin: StandIn) -> None:
    end(api, standin, "bert", "Killed", "Its container ended with 137.")
    said = drc("logs", "bert")
    assert said.out == "Killed\n"
    assert re.fullmatch(rf"bert failed {SINCE}: Its container ended with 137\.\n", said.err)
    answer = json.loads(drc("logs", "bert", "--json").out)
    assert (answer["log"], answer["state"], answer["host"]) == ("Killed", "failed", "gpu1")


def test_one_that_failed_before_it_had_a_container_says_so(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    api.create("bert")
    run_sql(db, "UPDATE vessel SET state_since = state_since - %s", RESERVED_LIMIT)
    sweep.run_once(api.context)
    standin.tell.absent(standin.take("stop"), None)
    said = drc("logs", "bert")
    assert (said.status, said.out) == (0, "")
    assert re.fullmatch(
        rf"bert failed {SINCE}: No conductor took it within 30 s\.\n"
        "It never had a container, so there is no log\\.\n",
        said.err,
    )


def test_one_whose_container_was_gone_or_silent_says_so(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    end(api, standin, "gone", None)
    end(api, standin, "silent", "")
    assert drc("logs", "gone").err.endswith("No log of it was kept.\n")
    assert drc("logs", "silent").err.endswith("It said nothing.\n")


def test_one_that_waits_has_no_container_yet(drc: Terminal, api: Api, host: int) -> None:
    api.create("bert", gpus=4)
    api.create("otter")
    assert drc("logs", "bert").err == "bert is reserved; it has no container yet.\n"
    assert drc("logs", "otter").err == "otter is queued; it has no container yet.\n"
    assert json.loads(drc("logs", "otter", "--json").out)["log"] is None


def test_of_a_host_that_is_silent_there_is_what_was_kept(
    drc: Terminal, api: Api, standin: StandIn, host: int
) -> None:
    api.create("bert")
    standin.run_once()
    with standin.at_work():
        assert drc("logs", "bert").err == ""
    standin.tell.silent(host, Kind.HOST_SILENT, "it does not answer")
    said = drc("logs", "bert")
    assert said.out == LOG
    assert re.fullmatch(r"gpu1 is silent for \d+ s; this is what was kept\.\n", said.err)


def test_of_several_of_a_name_it_is_the_last_or_the_one_whose_id_is_named(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    first = end(api, standin, "bert", "first\n", "It broke.")
    second = end(api, standin, "bert", "second\n")
    assert drc("logs", "bert").out == "second\n"
    assert lines(drc("show", "bert").out)[1] == ["id", second[:8]]
    rows = lines(drc("list", "--ended").out)
    assert [(row[1], row[-1]) for row in rows] == [
        ("STATE", "ID"),
        ("buried", second[:8]),
        ("failed", first[:8]),
    ]
    assert drc("logs", "bert", "--id", first[:8].upper()).out == "first\n"
    assert "failed for" in drc("show", "bert", "--id", first).out
    api.create("bert")
    standin.run_once()
    assert "running for" in drc("show", "bert").out  # the living one comes before them
    assert drc("logs", "bert", "--id", second[:4]).out == "second\n"


@pytest.mark.parametrize("verb", ["logs", "show"])
def test_an_id_or_name_that_is_none_is_a_sentence(
    drc: Terminal, api: Api, standin: StandIn, verb: str
) -> None:
    id = end(api, standin, "bert", "")
    end(api, standin, "otter", "")
    for words, sentence in (
        (("bert", "--id", "no"), "“no” is not a vessel's ID.\n  drc list --ended"),
        (("bert", "--id", "../x"), "“../x” is not a vessel's ID."),
        (("bert", "--id", "%"), "“%” is not a vessel's ID."),
        (("bert", "--id", ""), "“” is not a vessel's ID."),
        (("bert", "--id", "0" * 8), "no vessel called bert whose ID begins with 00000000."),
        (("otter", "--id", id), f"no vessel called otter whose ID begins with {id}."),
        (("berd",), "You have no vessel called berd.\n  Did you mean bert?"),
    ):
        said = drc(verb, *words)
        assert (said.status, said.out) == (1, "")
        assert sentence in said.err
    assert api.raw("GET", f"/v1/vessels/bert/logs?id={'%25' * 4}").status_code == 422


def test_another_cannot_read_it(drc: Terminal, api: Api, standin: StandIn) -> None:
    id = end(api, standin, "bert", "secret\n")
    token = api.token("bob")
    for path in ("/v1/vessels/bert/logs", f"/v1/vessels/bert/logs?id={id}"):
        assert api.raw("GET", path, token=token).status_code == 404


def test_a_log_that_is_asked_for_while_it_ends_takes_no_line_away(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    """Whoever fetches it comes after the container is gone, finds nothing and says so."""
    api.create("bert")
    start = standin.take("start")
    standin.bring_up(start)
    fleet.finish_work(standin.db, start.id, standin.name, start.generation)
    api.raw("POST", "/v1/vessels/bert/stop")
    with drc.started("logs", "bert") as running:
        stop = standin.take("stop")
        while (fetch := standin.claim()) is None:
            pass
        standin.tell.absent(stop, LOG)
        standin.tell.log(fetch, "")
        said = running.end()
    assert said.status == 0
    assert LOG in said.err  # both streams
    assert drc("logs", "bert").out == LOG


def test_as_many_lines_as_a_conductor_sends_are_kept(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    text = "".join(f"line {number} ü\n" for number in range(200))
    end(api, standin, "bert", text)
    run_sql(db, "UPDATE vessel SET state_since = state_since - %s", timedelta(days=30))
    said = drc("logs", "bert")
    assert said.out == text
    assert "bert was buried 30d ago" in said.err
