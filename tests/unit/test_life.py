"""drc.vessel against the truth table of tests/life.py, and against its own picture in the docs."""

import re
from pathlib import Path

import pytest

from drc import vessel
from drc.errors import WrongState
from drc.vessel import State, Verb
from tests.life import TRUTH

LIFE = Path(__file__).parents[2] / "docs" / "life.md"


def test_the_truth_table_has_every_pair() -> None:
    assert set(TRUTH) == {(state, verb) for state in State for verb in Verb}
    assert len(TRUTH) == 64


@pytest.mark.parametrize(("state", "verb"), TRUTH)
def test_a_verb_leads_where_the_truth_table_says(state: State, verb: Verb) -> None:
    expected = TRUTH[state, verb]
    if expected == "-":
        assert state not in vessel.sources(verb)
        with pytest.raises(WrongState, match=f"A {state} vessel cannot {verb}"):
            vessel.target(state, verb)
        return
    assert state in vessel.sources(verb)
    for outcome in (State.BURIED, State.FAILED):
        ends_in = outcome if expected == "outcome" else State(expected)
        assert vessel.target(state, verb, outcome) == ends_in


def test_nothing_leads_out_of_an_end() -> None:
    assert not [arrow for arrow in vessel.ARROWS if arrow.source in vessel.ENDED]
    assert set(State) == vessel.LIVING | vessel.ENDED


def test_the_diagram_in_the_docs_is_drawn_from_the_table() -> None:
    blocks = re.findall(r"^```mermaid\n(.*?)\n```$", LIFE.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks == [vessel.diagram()]


def test_the_docs_describe_every_state() -> None:
    """The first column of the table there."""
    rows = re.findall(r"^\| ([a-z, ]+) \|", LIFE.read_text(), re.MULTILINE)
    names = [name for row in rows for name in row.split(", ") if name != "state"]
    assert sorted(names) == sorted(State)
