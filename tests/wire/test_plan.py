"""`drc create --plan` and `drc why-not`: which host a vessel would get, and why not the others."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from drc.db import Database
from tests.fleets import check_conservation
from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal, lines

ELSEWHERE = "it is in queue big, not in default"


@pytest.fixture
def ill(gpu7: str, api: Api, looking: StandIn) -> None:
    """The second host is ill."""
    with api.client("op", "operator") as client:
        looking.tell.ill(client.call("GET", f"/v1/hosts/{gpu7}")["id"], "Docker does not answer.")


def put_home(api: Api, standin: StandIn, host: str, login: str, mib: int | None) -> None:
    """As a look at the host finds it."""
    with api.client(login) as client:
        client.call("GET", "/v1/vessels")  # nobody has a home before they were seen
    with api.client("op", "operator") as client:
        shown = client.call("GET", f"/v1/hosts/{host}")
    cards = ("uuid", "index", "name", "model", "memory_mib", "simulated")
    gpus = [{key: gpu[key] for key in cards} for gpu in shown["gpus"]]
    found: dict[str, Any] = {
        key: shown[key] for key in ("docker_version", "cpus", "millicpus", "memory_mib", "facts")
    }
    homes = [{"login": login, "mib": mib}]
    standin.tell.report(shown["id"], {**found, "gpus": gpus, "homes": homes, "images": []})


# A vessel that is not there yet ------------------------------------------------------------------


def test_a_plan_says_which_host_and_why_not_the_others(
    drc: Terminal, api: Api, looking: StandIn, gpu7: str
) -> None:
    put_home(api, looking, "gpu1", "ada", 41_000)
    said = drc("create", "bert", "--plan", "--queue", "default", "--queue", "big")
    assert (said.status, said.err) == (0, "Nothing was reserved.\n")
    assert lines(said.out) == [
        ["HOST", "PLAN", "WHY"],
        ["gpu7", "taken", "new, empty home; yours is on gpu1"],
        ["gpu1", "fits", "your home is here (40 GiB)"],
    ]
    said = drc("create", "bert", "--plan", "--gpu", "a100")
    assert lines(said.out)[1:] == [
        ["gpu1", "taken", "your home is here (40 GiB)"],
        ["gpu7", "no", ELSEWHERE],
    ]


def test_a_plan_reserves_nothing(drc: Terminal, api: Api, gpu7: str, db: Database) -> None:
    before = drc("gpus", "--json").out
    assert lines(drc("create", "bert", "--plan", "--gpus", "4").out)[1][:2] == ["gpu1", "taken"]
    assert drc("gpus", "--json").out == before
    assert drc("list").out == drc("events").out == ""
    assert "You have no vessel called bert." in drc("show", "bert").err
    check_conservation(db)


def test_a_plan_is_what_create_then_does(
    drc: Terminal, api: Api, looking: StandIn, gpu7: str
) -> None:
    """With the home that was announced; the first vessel makes one, which the second finds."""
    put_home(api, looking, "gpu1", "ada", None)
    words = ("create", "--gpu", "h100", "--queue", "big", "--queue", "default")
    for home in ("new, empty home; yours is on gpu1", "your home is here"):
        assert lines(drc(*words, "--plan").out)[1] == ["gpu7", "taken", home]
        said = drc(*words)
        (line,) = [line for line in said.err.splitlines() if "✓ reserved" in line]
        assert (said.status, "gpu7 · 1 × h100" in line, line.endswith(f" · {home}")) == (
            0,
            True,
            True,
        )


def test_a_first_vessel_finds_a_new_home_and_nothing_is_said_of_others(
    drc: Terminal, api: Api, looking: StandIn
) -> None:
    assert lines(drc("create", "--plan").out)[1] == ["gpu1", "taken", "new, empty home"]
    said = drc("create", "bert")
    assert "home is" not in said.err
    assert api.show("bert")["homes"] == [{"host": "gpu1", "mib": None, "is_new": True}]
    assert lines(drc("create", "--plan").out)[1] == ["gpu1", "taken", "your home is here"]
    assert "· your home is here\n" in drc("create", "second").err


def test_a_plan_as_json_is_the_apis_own_answer(drc: Terminal, api: Api, gpu7: str) -> None:
    said = drc("create", "--plan", "--json", "--gpus", "2")
    assert (said.status, said.err) == (0, "")
    with api.client() as client:
        plan = client.call("POST", "/v1/vessels/plan", {"gpus": 2})
    assert json.loads(said.out) == plan
    assert plan == {
        "verdicts": [
            {"host": "gpu1", "taken": True, "reason": None, "home": "new, empty home"},
            {"host": "gpu7", "taken": False, "reason": ELSEWHERE, "home": None},
        ],
        "never": None,
        "waits_for": None,
        "ahead": 0,
    }


NEVER = [
    (("--gpus", "5"), "it has 4 × a100, not 5", "No host has 5 × GPU. The most in one host are 4"),
    (("--gpu", "b200"), "it has a100, not b200", "No host has any b200. There are: a100"),
    (("--gpu-memory", "90GB"), "its cards have 80 GB, not 90 GB", "No GPU has 90 GB of memory. "),
    (("--queue", "empty"), "it is in queue default, not in empty", "No host is in the queue empty"),
]


def test_a_plan_of_what_could_never_be_says_so_of_each_host_and_fails(
    drc: Terminal, operator: Terminal, host: int
) -> None:
    operator("queue", "add", "empty")
    for words, reason, sentence in NEVER:
        said = drc("create", "--plan", *words)
        assert (said.status, lines(said.out)[1:]) == (1, [["gpu1", "no", reason]]), words
        assert said.err.startswith(sentence), words


def test_a_plan_of_what_cannot_be_asked_for_is_the_sentence_that_create_says(
    drc: Terminal, host: int
) -> None:
    for words in (["--gpus", "-1"], ["--queue", "nowhere"], ["--host", "gpu9"], ["--memory", "4"]):
        said = drc("create", "--plan", *words)
        assert (said.status, said.out) == (1, "")
        assert said == drc("create", *words)


def test_a_plan_of_what_must_wait_says_for_what_and_behind_whom(
    drc: Terminal, api: Api, ill: None
) -> None:
    api.create("holds", gpus=3)
    words = ("create", "--plan", "--gpus", "2", "--queue", "big", "--queue", "default")
    said = drc(*words)
    assert (said.status, said.err) == (
        0,
        ("It would wait for 2 × GPU; nearest is gpu1: only 1 of its 4 a100 is free.\n"),
    )
    assert lines(said.out)[1:] == [
        ["gpu1", "no", "only 1 of its 4 a100 is free"],
        ["gpu7", "no", "it is ill: Docker does not answer."],
    ]
    for count, sentence in ((1, "1 vessel waits"), (2, "2 vessels wait")):
        api.create(f"w-{count}", gpus=2, queue=["default", "big"])
        assert drc(*words).err == f"It would wait: {sentence} for the same already.\n"
    assert drc("create", "--plan").err == "Nothing was reserved.\n"  # another shape passes


# A vessel that waits -----------------------------------------------------------------------------


def test_why_not_says_of_each_host_why_a_waiting_vessel_is_not_there(
    drc: Terminal, api: Api, ill: None
) -> None:
    api.create("holds", gpus=4)
    api.create("bert", gpus=2, queue=["big", "default"])
    said = drc("why-not", "bert")
    assert (said.status, said.err) == (0, "")
    assert lines(said.out) == [
        ["HOST", "PLAN", "WHY"],
        ["gpu1", "no", "none of its 4 a100 is free"],
        ["gpu7", "no", "it is ill: Docker does not answer."],
    ]
    said = drc("why-not", "bert", "--json")
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.out) == api.raw("GET", "/v1/vessels/bert/why-not").json()


def test_why_not_says_that_others_wait_for_the_same(drc: Terminal, api: Api, host: int) -> None:
    api.create("holds", gpus=4)
    for name in ("one", "two", "three"):
        api.create(name, gpus=4)
    assert json.loads(drc("why-not", "three", "--json").out)["ahead"] == 2
    assert drc("why-not", "three").err.startswith("2 ")


def test_why_not_counts_only_those_who_are_served_before(api: Api, host: int) -> None:
    """As the API's own document says of `ahead`."""
    api.create("holds", gpus=4)
    ahead: list[int] = []
    for name in ("one", "two", "three"):
        api.create(name, gpus=4)
    for name in ("one", "two", "three"):
        ahead.append(api.raw("GET", f"/v1/vessels/{name}/why-not").json()["ahead"])
    assert ahead == [0, 1, 2]


def test_why_not_of_what_no_host_could_hold_any_more_says_so(
    drc: Terminal, operator: Terminal, api: Api, gpu7: str
) -> None:
    """Its only host was there when it was asked for, and went into another queue."""
    api.create("holds", gpus=2, queue=["big"])
    api.create("bert", gpu=["h100"], queue=["big"])
    operator("host", "set", "gpu7", "--queue", "default")
    said = drc("why-not", "bert")
    assert (said.status, lines(said.out)[1:]) == (
        0,
        [
            ["gpu1", "no", "it is in queue default, not in big"],
            ["gpu7", "no", "it is in queue default, not in big"],
        ],
    )
    assert said.err.startswith("No host is in the queue big.")
    assert "no host could hold 1 × h100 any more" in drc("show", "bert").out


def test_why_not_is_asked_of_ones_own_vessels_that_wait(
    drc: Terminal, terminal: Callable[[str], Terminal], api: Api, standin: StandIn
) -> None:
    api.create("bert", gpus=4)
    standin.run_once()
    said = drc("why-not", "bert")
    assert (said.status, said.out) == (1, "")
    assert said.err == "bert does not wait; it is running.\n  drc show bert\n"
    for name in ("nobody", "../hosts", ""):
        assert f"You have no vessel called {name}." in drc("why-not", "--", name).err
    api.create("mine")
    assert "You have no vessel called mine." in terminal("bob")("why-not", "mine").err
    drc("stop", "mine")
    assert "mine does not wait; it is buried." in drc("why-not", "mine").err
