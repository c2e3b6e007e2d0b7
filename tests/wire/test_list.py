"""`drc list --watch`, and how places in line and numbers of things are said."""

import json
import re

import pytest

from drc.cli.look import count, ordinal
from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal


def test_a_list_that_is_watched_comes_again_until_it_is_interrupted(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    """Not on a terminal: nothing is cleared, one table follows the other."""
    api.create("holds", gpus=4)
    api.create("bert", gpus=2)
    with drc.started("list", "--watch") as running:
        assert running.wait_for("bert").split()[:5] == ["bert", "queued", "1st", "in", "line"]
        with standin.at_work():
            drc("stop", "holds")
            while running.wait_for("bert").split()[1] != "running":
                pass
        running.interrupt()
        said = running.end()
    assert said.status == 130
    assert "\033" not in said.err
    assert len(re.findall(r"^NAME +STATE ", said.err, re.MULTILINE)) >= 2
    assert "Traceback" not in said.err


def test_a_watched_list_as_json_is_one_answer_after_the_other(
    drc: Terminal, api: Api, host: int
) -> None:
    api.create("bert")
    with drc.started("list", "--watch", "--json") as running:
        for _ in range(2):
            while running.wait_for("]") != "]\n":
                pass
        running.interrupt()
        said = running.end()
    assert said.status == 130
    first, _, rest = said.err.partition("\n]\n")
    assert json.loads(first + "]") == [api.show("bert") | {"homes": []}]
    assert rest.startswith("[\n")


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (10, "10th"), (11, "11th"), (12, "12th"),
     (13, "13th"), (21, "21st"), (22, "22nd"), (101, "101st"), (111, "111th"), (113, "113th")],
)  # fmt: skip
def test_places_in_line_are_said_as_people_say_them(number: int, said: str) -> None:
    assert ordinal(number) == said


def test_one_of_a_thing_is_not_two() -> None:
    assert [count(number, "vessel") for number in (0, 1, 2)] == [
        "0 vessels",
        "1 vessel",
        "2 vessels",
    ]
