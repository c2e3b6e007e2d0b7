"""Queues by name: which hosts are in them, who may use them, and who waits in which order."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from drc.auth import Signer
from drc.db import Database
from tests.fleets import check_conservation
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import FINGERPRINT, StandIn
from tests.wire.terminal import Terminal, lines

# Adding them, and who may use them ---------------------------------------------------------------


def test_a_new_queue_is_for_everybody_and_has_no_hosts(operator: Terminal, host: int) -> None:
    said = operator("queue", "add", "vision")
    assert (said.status, said.out) == (0, "")
    assert "vision is for everybody.  drc host set HOST --queue vision" in said.err
    assert lines(operator("queue", "list").out) == [
        ["QUEUE", "FOR", "HOSTS", "GPUS FREE", "WAITING"],
        ["default", "everybody", "gpu1", "4 of 4", "0"],
        ["vision", "everybody", "-", "0 of 0", "0"],
    ]
    shown = operator("queue", "show", "vision")
    assert dict(lines(shown.out)) == {
        "queue": "vision",
        "for": "everybody",
        "hosts": "none",
        "gpus": "0 of 0 free",
    }
    assert "Nobody waits." in shown.err


def test_who_may_use_a_queue_is_said_and_can_be_changed(
    operator: Terminal, drc: Terminal, host: int
) -> None:
    """One who may use it is told what else is wrong: no host is in it."""

    def refusal() -> str:
        said = drc("create", "bert", "--queue", "vision", "--no-wait")
        assert (said.status, said.out) == (1, "")
        return said.err

    operator("queue", "add", "vision", "--user", "bob", "--user", "carol")
    assert lines(operator("queue", "list").out)[2][:2] == ["vision", "bob, carol"]
    assert refusal() == "Only bob and carol may use the queue vision.\n  drc queue list\n"
    operator("queue", "add", "vision", "--nobody")
    assert lines(operator("queue", "list").out)[2][:2] == ["vision", "nobody"]
    assert refusal() == "Nobody may use the queue vision.\n  drc queue list\n"
    operator("queue", "add", "vision", "--user", "ada")
    assert "No host is in the queue vision." in refusal()
    operator("queue", "add", "vision")
    assert lines(operator("queue", "list").out)[2][:2] == ["vision", "everybody"]
    assert "No host is in the queue vision." in refusal()


def test_the_permission_to_use_a_queue_lets_in_whom_it_does_not_name(
    api: Api, operator: Terminal, host: int
) -> None:
    operator("queue", "add", "vision", "--user", "bob")
    operator("host", "set", "gpu1", "--queue", "vision", "--queue", "default")

    def create(token: str) -> int:
        wish = {"queue": ["vision"], "gpus": 0}
        return api.raw("POST", "/v1/vessels", wish, token=token).status_code

    def token(kid: str, role: str, *queues: str) -> str:
        signer = Signer.load(api.keys / f"{kid}.pem")
        more = {"queues": list(queues)}
        return signer.sign("ada", [role], datetime.now(UTC), timedelta(minutes=5), **more)

    assert create(token("api", "researcher")) == 403
    assert create(token("api", "researcher", "visio", "default")) == 403
    ada = token("api", "researcher", "vision")
    assert create(ada) == 201
    me = api.raw("GET", "/v1/whoami", token=ada).json()
    assert me["permissions"]["queues:use:vision"] == "Use the queue vision."
    assert create(token("conductor", "researcher", "vision")) == 401  # no key for people


def test_queues_are_changed_by_operators_and_seen_by_everybody(
    drc: Terminal, operator: Terminal, host: int
) -> None:
    said = drc("queue", "add", "mine")
    assert (said.status, "the permission queues:write" in said.err) == (1, True)
    said = drc("host", "set", "gpu1", "--queue", "default")
    assert (said.status, "the permission hosts:write" in said.err) == (1, True)
    for words in (["list"], ["list", "--json"], ["show", "default"], ["show", "default", "--json"]):
        assert drc("queue", *words) == operator("queue", *words)


def test_what_cannot_be_a_queues_name_is_a_sentence(operator: Terminal, api: Api) -> None:
    for name in ("", "Big", "../hosts", "a/b", "1st", "x" * 41):
        said = operator("queue", "add", "--", name)
        assert (said.status, f"“{name}” cannot be a queue's name" in said.err) == (1, True), said
        said = operator("queue", "show", "--", name)
        assert (said.status, f"There is no queue called {name}." in said.err) == (1, True), said
    assert api.requests == []
    said = operator("queue", "show", "nowhere")
    assert said.err == "There is no queue called nowhere.\n  drc queue list\n"


# Hosts in them -----------------------------------------------------------------------------------


def test_a_host_is_added_into_queues_and_put_into_others(
    operator: Terminal, looking: StandIn
) -> None:
    for queue in ("big", "vision"):
        operator("queue", "add", queue)
    add = ("host", "add", "gpu7", "root@10.0.0.7", "--host-key", FINGERPRINT, "--yes")
    refused = operator(*add, "--queue", "big", "--queue", "nowhere")
    assert refused.status == 1
    assert "There is no queue called nowhere.\n  drc queue add nowhere" in refused.err
    assert "gpu7" not in operator("host", "list").out
    assert operator(*add, "--queue", "vision", "--queue", "big").status == 0
    assert lines(operator("host", "list").out)[2][-1] == "big, vision"
    said = operator("host", "set", "gpu7", "--queue", "big", "--queue", "default")
    assert (said.status, said.err) == (0, "gpu7 is in big, default.\n")
    refused = operator("host", "set", "gpu7", "--queue", "nowhere")
    assert (refused.status, "There is no queue called nowhere." in refused.err) == (1, True)
    assert lines(operator("queue", "list").out)[1:] == [
        ["default", "everybody", "gpu1, gpu7", "6 of 6", "0"],
        ["big", "everybody", "gpu7", "2 of 2", "0"],
        ["vision", "everybody", "-", "0 of 0", "0"],
    ]
    assert ["queues", "big, default"] in lines(operator("host", "show", "gpu7").out)


def test_a_host_that_is_not_there_or_no_queue_cannot_be_set(operator: Terminal, host: int) -> None:
    said = operator("host", "set", "gpu9", "--queue", "default")
    assert (said.status, "There is no host called gpu9." in said.err) == (1, True)
    said = operator("host", "set", "gpu1")
    assert (said.status, "--queue" in said.err) == (2, True)


# Creating in them --------------------------------------------------------------------------------


def test_a_vessel_gets_a_host_of_the_queues_it_named(
    drc: Terminal, api: Api, gpu7: str, db: Database
) -> None:
    """Of several queues the best fit counts, which is the card that leaves fewest stranded."""
    assert drc("create", "plain").status == 0
    assert drc("create", "large", "--queue", "big").status == 0
    assert drc("create", "any", "--queue", "big", "--queue", "default").status == 0
    for name, where, queues in (
        ("plain", "gpu1", ["default"]),
        ("large", "gpu7", ["big"]),
        ("any", "gpu7", ["big", "default"]),
    ):
        vessel = api.show(name)
        assert (vessel["host"], vessel["queues"]) == (where, queues)
    assert ["queue", "big, default"] in lines(drc("show", "any").out)
    assert "queue" not in [line[0] for line in lines(drc("show", "plain").out)]
    check_conservation(db)


REFUSED = [
    (("--queue", "nowhere"), "There is no queue called nowhere.\n  drc queue list\n"),
    (("--queue", "theirs"), "Only bob may use the queue theirs.\n  drc queue list\n"),
    (("--queue", "closed"), "Nobody may use the queue closed.\n  drc queue list\n"),
    (("--queue", "big", "--queue", "theirs"), "Only bob may use the queue theirs.\n"),
    (
        ("--queue", "empty"),
        "No host is in the queue empty.\n  There are hosts in: big, default. drc queue list\n",
    ),
    (("--queue", "empty", "--host", "gpu1"), "That host is not in the queue empty.\n"),
    (("--queue", "big", "--gpu", "a100"), "No host has any a100.\n  There are: h100\n"),
    (("--gpu", "h100"), "No host has any h100.\n  There are: a100\n"),
    (("--queue", "big", "--gpus", "3"), "No host has 3 × GPU.\n  The most in one host are 2"),
    (("--host", "gpu7"), "That host is not in the queue default.\n"),
]


def test_what_no_queue_could_ever_give_is_refused_at_once(
    drc: Terminal, operator: Terminal, api: Api, gpu7: str
) -> None:
    operator("queue", "add", "theirs", "--user", "bob")
    operator("queue", "add", "closed", "--nobody")
    operator("queue", "add", "empty")
    for words, sentence in REFUSED:
        said = drc("create", "bert", *words)
        assert (said.status, said.out) == (1, ""), words
        assert said.err.startswith(sentence), words
    with api.client() as client:
        assert client.call("GET", "/v1/vessels", params={"ended": True}) == []


# Waiting in them ---------------------------------------------------------------------------------


@pytest.fixture
def full(api: Api, gpu7: str) -> None:
    """Nothing is free in either queue."""
    api.create("holds", gpus=4)
    api.create("holds-big", gpus=2, queue=["big"])
    wait_until(lambda: api.show("holds-big")["state"] == "running", "both run")


def test_those_who_wait_are_shown_in_their_order(
    drc: Terminal, operator: Terminal, api: Api, full: None
) -> None:
    """A vessel in two queues stands where it is foremost."""
    api.create("first", gpus=3)
    api.create("theirs", subject="bob", gpu=["a100", "h100"])
    api.create("second", gpus=2, queue=["big"])
    api.create("either", queue=["big", "default"])
    rows = lines(drc("list").out)[1:]
    assert {row[0]: row[1:4] for row in rows} == {
        "either": ["queued", "2nd in line", "1 × any"],
        "second": ["queued", "1st in line", "2 × any"],
        "first": ["queued", "1st in line", "3 × any"],
        "holds-big": ["running", "gpu7", "2 × h100 80 GB"],
        "holds": ["running", "gpu1", "4 × a100 80 GB"],
    }
    rows = lines(operator("list", "--all").out)[1:]
    assert [row[3] for row in rows if row[2] == "queued"] == [
        f"{place} in line" for place in ("2nd", "1st", "2nd", "1st")
    ]
    show = lines(drc("queue", "show", "default").out)
    assert show[4] == ["#", "OWNER", "VESSEL", "GPUS", "WAITS"]
    assert [row[:4] for row in show[5:]] == [
        ["1", "ada", "first", "3 × any"],
        ["2", "bob", "theirs", "1 × a100 or h100"],
        ["3", "ada", "either", "1 × any"],
    ]
    line = json.loads(drc("queue", "show", "big", "--json").out)["line"]
    assert [vessel["name"] for vessel in line] == ["second", "either"]
    assert [row[-1] for row in lines(drc("queue", "list").out)[1:]] == ["3", "2"]
    shown = dict(line for line in lines(drc("show", "first").out) if len(line) == 2)
    assert shown["line"] == "1st"
    waits = "waits for 3 × GPU; nearest is gpu1: none of its 4 a100 is free"
    assert waits in drc("show", "first").out


def test_whoever_gives_up_leaves_the_line(drc: Terminal, api: Api, full: None) -> None:
    for name in ("one", "two", "three"):
        api.create(name, gpus=4)
    said = drc("stop", "two")
    assert (said.status, said.err) == (0, "two is buried.\n")
    assert [row[:3] for row in lines(drc("list").out)[1:3]] == [
        ["three", "queued", "2nd in line"],
        ["one", "queued", "1st in line"],
    ]
    assert api.show("two")["position"] is None
    assert drc("stop", "holds").status == 0
    wait_until(lambda: api.show("one")["state"] == "running", "the next is served")
    assert api.show("three")["position"] == 1


def test_a_waiting_vessel_that_is_ended_elsewhere_ends_its_create(
    drc: Terminal, api: Api, full: None
) -> None:
    with drc.started("create", "bert") as running:
        running.wait_for("1st in line")
        running.wait_for("waits for 1 × GPU; nearest is ")
        api.raw("POST", "/v1/vessels/bert/stop")
        said = running.end()
    assert said.status == 1
    assert "bert ended: stopped by its owner" in said.err


def test_not_to_wait_is_to_be_told_that_it_waits(drc: Terminal, api: Api, full: None) -> None:
    said = drc("create", "bert", "--no-wait", "--queue", "big")
    assert (said.status, said.out, said.err) == (0, "bert  queued\n", "")
    assert drc("stop", "holds-big").status == 0
    wait_until(lambda: api.show("bert")["state"] == "running", "it is served all the same")


def test_what_waits_in_a_queue_starts_when_a_host_is_put_into_it(
    drc: Terminal, operator: Terminal, api: Api, gpu7: str, db: Database
) -> None:
    api.create("holds-big", gpus=2, queue=["big"])
    with drc.started("create", "bert", "--queue", "big") as running:
        running.wait_for("It starts by itself; Ctrl-C leaves it waiting.")
        assert operator("host", "set", "gpu1", "--queue", "big").status == 0
        said = running.end()
    assert said.status == 0, said.err
    assert api.show("bert")["host"] == "gpu1"
    check_conservation(db)


def test_a_vessel_on_a_host_that_leaves_its_queue_stays(
    drc: Terminal, operator: Terminal, api: Api, gpu7: str
) -> None:
    api.create("bert", queue=["big"])
    wait_until(lambda: api.show("bert")["state"] == "running", "bert runs")
    operator("host", "set", "gpu7", "--queue", "default")
    assert api.show("bert")["state"] == "running"
    assert "No host is in the queue big." in drc("create", "--plan", "--queue", "big").err


def test_whoever_waits_waits_on_when_the_queue_is_closed(
    drc: Terminal, operator: Terminal, terminal: Callable[[str], Terminal], api: Api, full: None
) -> None:
    """Who may use a queue is asked when a vessel is asked for."""
    api.create("bert", queue=["big"])
    operator("queue", "add", "big", "--nobody")
    assert "Nobody may use the queue big." in drc("create", "--queue", "big").err
    assert drc("stop", "holds-big").status == 0
    wait_until(lambda: api.show("bert")["state"] == "running", "it is served all the same")
