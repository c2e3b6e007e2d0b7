"""The commands that look and end, as processes over real HTTP."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

from drc.db import Database
from tests.fleets import check_conservation
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import LOG, MACHINE, StandIn
from tests.wire.terminal import PROGRAM, Terminal, lines


def test_list_shows_ones_own_living_vessels(drc: Terminal, api: Api, standin: StandIn) -> None:
    api.create("bert", gpus=2)
    standin.run_once()
    api.create("otter", gpus=0)
    api.create("theirs", subject="bob")
    head, *rows = lines(drc("list").out)
    assert head == ["NAME", "STATE", "HOST", "GPUS", "SHARE", "AGE", "ENDS IN"]
    assert [row[:4] for row in rows] == [
        ["otter", "reserved", "gpu1", "none"],
        ["bert", "running", "gpu1", "2 × a100 80 GB"],
    ]
    assert {row[6] for row in rows} == {"7d"}


def test_list_as_json_is_the_apis_own_answer(drc: Terminal, api: Api, host: int) -> None:
    api.create("bert")
    assert json.loads(drc("list", "--json").out) == [api.show("bert")]


def test_list_without_vessels_says_how_to_make_one(drc: Terminal, host: int) -> None:
    said = drc("list")
    assert (said.status, said.out) == (0, "")
    assert "drc create --gpus 1" in said.err


def test_list_shows_ended_vessels_when_asked(drc: Terminal, api: Api, standin: StandIn) -> None:
    with standin.at_work():
        api.create("bert")
        assert drc("stop", "bert").status == 0
    assert drc("list").out == ""
    assert lines(drc("list", "--ended").out)[1][:2] == ["bert", "buried"]


def test_everybodys_vessels_are_for_operators(
    drc: Terminal, terminal: Callable[[str], Terminal], api: Api, host: int
) -> None:
    api.create("bert")
    api.create("bert", subject="bob")
    refused = drc("list", "--all")
    assert refused.status == 1
    assert "vessels:read:any" in refused.err
    operator = terminal("op")
    operator.token = api.token("op", "operator")
    rows = lines(operator("list", "--all").out)
    assert [row[:2] for row in rows[1:]] == [["bob", "bert"], ["ada", "bert"]]


def test_show_says_what_it_has_and_how_to_enter_it(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    api.create("bert", gpus=2, gpu=["a100"])
    waiting = dict(line for line in lines(drc("show", "bert").out) if len(line) == 2)
    assert (waiting["vessel"], waiting["state"].split()[0]) == ("bert of ada", "reserved")
    assert "ssh" not in waiting
    standin.run_once()
    said = drc("show", "bert").out
    for expected in ("2 × a100 80 GB", "GPU-gpu1-0", "ssh ", "@127.0.0.1:", "drc jupyter bert"):
        assert expected in said
    assert json.loads(drc("show", "bert", "--json").out) == api.show("bert")


def test_stop_waits_until_the_host_has_said_so(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    api.create("bert", gpus=4)
    standin.run_once()
    with drc.started("stop", "bert") as running:
        work = None
        while work is None:
            work = standin.claim()
        assert (work.verb, api.show("bert")["state"]) == ("stop", "stopping")
        assert running.process.poll() is None
        standin.do(work)
        said = running.end()
    assert said.status == 0
    assert "its GPUs are free, its home stays" in said.err
    assert api.show("bert")["state"] == "buried"
    assert "Host bert" not in (drc.home / ".ssh" / "drc" / "config").read_text()
    check_conservation(db)


def test_stop_need_not_wait_and_a_second_stop_is_no_error(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    api.create("bert")
    for _ in range(2):
        said = drc("stop", "bert", "--no-wait")
        assert said.status == 0
        assert "bert is stopping" in said.err
    standin.run_once()
    said = drc("stop", "bert")
    assert said.status == 1
    assert "bert is buried already" in said.err


def test_a_waiting_vessel_is_buried_at_once(drc: Terminal, api: Api, host: int) -> None:
    api.create("first", gpus=4)
    api.create("second")
    said = drc("stop", "second")
    assert said.status == 0
    assert "second is buried" in said.err


def test_several_are_stopped_at_once(drc: Terminal, api: Api, standin: StandIn) -> None:
    with standin.at_work():
        api.create("one")
        api.create("two")
        assert drc("stop", "one", "two").status == 0
    assert [api.show(name)["state"] for name in ("one", "two")] == ["buried", "buried"]


def test_logs_are_fetched_from_the_host_and_kept_when_it_ends(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    api.create("bert")
    standin.run_once()
    with standin.at_work():
        assert drc("logs", "bert").out == LOG
        assert ("log", "bert") in standin.done
        drc("stop", "bert")
    assert drc("logs", "bert").out == LOG


def test_a_log_with_bytes_that_no_database_holds_buries_its_vessel_all_the_same(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    """Anybody can write a NUL into their container's log; its GPUs must come back."""
    api.create("bert")
    work = standin.take("start")
    standin.bring_up(work)
    standin.tell.log(work, "before\0after")
    api.raw("POST", "/v1/vessels/bert/stop")
    standin.tell.absent(work, "before\0after\n")
    assert api.show("bert")["state"] == "buried"
    assert re.fullmatch("before.after\n", drc("logs", "bert").out)


def test_events_are_what_happened_in_its_order(drc: Terminal, api: Api, standin: StandIn) -> None:
    api.create("bert")
    standin.run_once()
    api.create("otter")
    kinds = [row[1] for row in lines(drc("events", "bert").out)]
    assert kinds == [
        "reserved", "starting", "image_ready", "ssh_ready", "jupyter_ready", "running",
    ]  # fmt: skip
    every = [json.loads(line) for line in drc("events", "--json").out.splitlines()]
    assert [event["kind"] for event in every] == [*kinds, "reserved"]
    assert {event["vessel"] for event in every} == {"bert", "otter"}


def test_events_are_followed_as_they_come(drc: Terminal, api: Api, standin: StandIn) -> None:
    api.create("bert")
    with drc.started("events", "bert", "--follow", "--json") as running:
        running.wait_for("reserved")
        standin.run_once()
        running.wait_for('"running"')
        running.interrupt()
        assert running.end().status == 130


def test_gpus_says_who_holds_which(drc: Terminal, api: Api, standin: StandIn) -> None:
    api.create("bert", gpus=2)
    api.create("theirs", subject="bob")
    said = drc("gpus", "--each")
    head, *rows = lines(said.out)
    assert head == ["HOST", "GPU", "MODEL", "MEMORY", "STATE", "VESSEL", "ILL"]
    assert [row[1:] for row in rows] == [
        ["0", "a100", "80 GB", "held", "bert of ada (reserved)"],
        ["1", "a100", "80 GB", "held", "bert of ada (reserved)"],
        ["2", "a100", "80 GB", "held", "theirs of bob (reserved)"],
        ["3", "a100", "80 GB", "free", "-"],
    ]
    assert "1 of 4 are free." in said.err
    assert json.loads(drc("gpus", "--json").out)[0]["vessel"] == "bert"


def test_gpus_are_summed_by_model_and_host(
    drc: Terminal, operator: Terminal, api: Api, gpu7: str, looking: StandIn
) -> None:
    """Held is held, whatever else is true of a card; what is free on a closed host is not."""
    api.create("bert", gpus=3)
    api.create("theirs", subject="bob", queue=["big"])
    operator("host", "cordon", "gpu1")
    looking.machines[gpu7] = {**MACHINE, "gpus": []}
    operator("host", "probe", gpu7)
    said = drc("gpus")
    assert lines(said.out) == [
        ["MODEL", "HOST", "MEMORY", "FREE", "HELD", "ILL", "CLOSED"],
        ["a100", "gpu1", "80 GB", "-", "3", "-", "1"],
        ["h100", "gpu7", "80 GB", "-", "1", "1", "-"],
    ]
    assert said.err == "0 of 6 are free.\n"


def test_ill_gpus_are_listed_with_their_reasons_held_or_not(
    drc: Terminal, operator: Terminal, api: Api, gpu7: str, looking: StandIn
) -> None:
    assert (drc("gpus", "--ill").out, drc("gpus", "--ill").err) == ("", "All 6 are well.\n")
    api.create("bert", gpus=2, queue=["big"])
    fault = {"fault": "it needs a reset, says its driver", "leftover": ""}
    looking.health = {"gpus": {"GPU-gpu7-1": fault}}
    operator("host", "probe", gpu7)
    wait_until(lambda: drc("gpus", "--ill").out, "a look has found it")
    said = drc("gpus", "--ill")
    assert [row[:2] + row[4:5] + row[6:] for row in lines(said.out)[1:]] == [
        ["gpu7", "1", "held", "gpu-fault: it needs a reset, says its driver"]
    ]
    assert said.err == "1 of 6 are ill.\n"
    assert [gpu["uuid"] for gpu in json.loads(drc("gpus", "--ill", "--json").out)] == ["GPU-gpu7-1"]


def test_anothers_vessel_is_not_there(
    terminal: Callable[[str], Terminal], api: Api, standin: StandIn
) -> None:
    """Not forbidden: whether there is one is nobody else's business."""
    api.create("bert")
    standin.run_once()
    bob = terminal("bob")
    for words in (["show"], ["stop"], ["logs"], ["events"], ["ssh"], ["jupyter"], ["code"]):
        said = bob(*words, "bert")
        assert said.status == 1, words
        assert "You have no vessel called bert." in said.err
    assert api.show("bert")["state"] == "running"
    api.create("bert", subject="bob")  # the name is free for him
    assert api.show("bert", subject="bob")["id"] != api.show("bert")["id"]
    assert (
        api.show("bert", subject="bob")["ssh"]["host_key_alias"]
        != api.show("bert")["ssh"]["host_key_alias"]
    )


def test_a_vessel_that_is_not_up_cannot_be_entered(drc: Terminal, api: Api, host: int) -> None:
    api.create("bert")
    for words in (["ssh"], ["jupyter"], ["code"]):
        said = drc(*words, "bert")
        assert said.status == 1
        assert "bert is reserved." in said.err


def test_the_reader_of_a_pipe_may_leave(drc: Terminal, api: Api, host: int) -> None:
    """`drc list | head -0`."""
    api.create("bert")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "list"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=drc.environment,
        timeout=20,
    )
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
