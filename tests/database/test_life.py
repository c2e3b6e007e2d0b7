"""The truth table against the statements: a row moves exactly as it says, or nothing does."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from drc import fleet
from drc.db import Database
from drc.fleet import Wish
from drc.vessel import State, Verb
from tests.fleets import add_host, add_owner, check_conservation, report_gpus, run_sql, wish
from tests.life import TRUTH

ATTEMPT = 1


@dataclass
class Subject:
    """A vessel that only its own host can hold, so that the host decides whether it must wait."""

    db: Database
    wish: Wish
    host_id: int

    @property
    def id(self) -> str:
        return self.wish.id

    def state(self) -> State:
        return State(fleet.read_vessels(self.db, id=self.id, ended=True)[0]["state"])


def make(db: Database, name: str, state: State, outcome: State = State.BURIED) -> Subject:
    """A vessel in a state, brought there by the product's own statements."""
    host_id = add_host(db, name, {})
    subject = Subject(db, wish(add_owner(db), name, host_id=host_id), host_id)
    if state != State.QUEUED:
        report_gpus(db, host_id, name, {"a100": 1})
    fleet.reserve_vessel(db, subject.wish)
    way = {
        State.STARTING: [Verb.START],
        State.RUNNING: [Verb.START, Verb.RUN],
        State.UNREACHABLE: [Verb.START, Verb.RUN, Verb.LOSE],
        State.STOPPING: [Verb.FAIL if outcome == State.FAILED else Verb.STOP],
        State.BURIED: [Verb.STOP, Verb.ABSENT],
        State.FAILED: [Verb.FAIL, Verb.ABSENT],
    }
    for verb in way.get(state, []):
        VERBS[verb](subject)
    assert subject.state() == state
    return subject


VERBS: dict[Verb, Callable[[Subject], object]] = {
    Verb.PLACE: lambda s: fleet.reserve_vessel(s.db, s.wish, waits=True),
    Verb.START: lambda s: fleet.start_vessel(s.db, s.id, ATTEMPT),
    Verb.RUN: lambda s: fleet.run_vessel(s.db, s.id, ATTEMPT, s.wish.token_hash),
    Verb.LOSE: lambda s: fleet.lose_vessels(s.db, s.host_id),
    Verb.FIND: lambda s: fleet.find_lost_vessel(s.db, s.id, ATTEMPT),
    Verb.STOP: lambda s: fleet.stop_vessel(s.db, s.id, "a test"),
    Verb.FAIL: lambda s: fleet.fail_vessel(s.db, s.id, ATTEMPT, "a test"),
    Verb.ABSENT: lambda s: fleet.bury_vessel(s.db, s.id, ATTEMPT),
}


def everything(db: Database) -> list[object]:
    """All that a verb could change, row by row."""
    tables = ("vessel", "gpu", "gpu_count", "host", "held", "outbox", "berth", "event")
    return [
        run_sql(db, f"SELECT to_jsonb(t) AS row FROM {table} t ORDER BY to_jsonb(t)::text")
        for table in tables
    ]


@pytest.mark.parametrize("state", State)
def test_each_verb_moves_a_row_as_the_truth_table_says_or_not_at_all(
    db: Database, state: State
) -> None:
    for verb in Verb:
        subject = make(db, f"{state}-{verb}", state)
        if verb == Verb.PLACE and state == State.QUEUED:
            report_gpus(db, subject.host_id, subject.wish.name, {"a100": 1})
        before = everything(db)
        moved = VERBS[verb](subject)
        expected = TRUTH[state, verb]
        if expected == "-":
            assert not moved, (state, verb)
            assert everything(db) == before, (state, verb)
        else:
            assert moved, (state, verb)
            ends_in = State.BURIED if expected == "outcome" else State(expected)
            assert subject.state() == ends_in, (state, verb)
            kinds = run_sql(
                db, "SELECT kind FROM event WHERE vessel_id = %s ORDER BY id", subject.id
            )
            assert ends_in in [row["kind"] for row in kinds[-2:]], (state, verb)
    check_conservation(db)


def test_a_stopping_vessel_ends_as_it_was_ended(db: Database) -> None:
    failed = make(db, "failed", State.STOPPING, State.FAILED)
    buried = make(db, "buried", State.STOPPING, State.BURIED)
    assert fleet.bury_vessel(db, failed.id, ATTEMPT) == State.FAILED
    assert fleet.bury_vessel(db, buried.id, ATTEMPT) == State.BURIED


@pytest.mark.parametrize(
    ("state", "verb"),
    [
        (State.RESERVED, Verb.START),
        (State.STARTING, Verb.RUN),
        (State.UNREACHABLE, Verb.FIND),
        (State.RUNNING, Verb.FAIL),
        (State.STOPPING, Verb.ABSENT),
    ],
)
def test_another_attempt_moves_nothing(db: Database, state: State, verb: Verb) -> None:
    subject = make(db, "bert", state)
    run_sql(db, "UPDATE vessel SET attempt = 2 WHERE id = %s", subject.id)
    before = everything(db)
    assert not VERBS[verb](subject)
    assert everything(db) == before


def test_another_token_moves_nothing(db: Database) -> None:
    subject = make(db, "bert", State.STARTING)
    before = everything(db)
    assert not fleet.run_vessel(db, subject.id, ATTEMPT, b"another")
    assert everything(db) == before


@pytest.mark.parametrize("state", [s for s in State if s != State.STARTING])
def test_steps_are_taken_down_while_it_starts_only(db: Database, state: State) -> None:
    subject = make(db, "bert", state)
    before = everything(db)
    assert not fleet.note_event(db, subject.id, ATTEMPT, "ssh_ready", {})
    assert everything(db) == before


def test_a_step_tells_the_address_once(db: Database) -> None:
    subject = make(db, "bert", State.STARTING)
    told = {"image_digest": "sha256:1", "ssh_address": "10.0.0.7", "ssh_port": 22001}
    assert not fleet.note_event(db, subject.id, 2, "image_ready", {}, **told)
    assert fleet.note_event(db, subject.id, ATTEMPT, "image_ready", {}, **told)
    assert fleet.note_event(db, subject.id, ATTEMPT, "ssh_ready", {})
    row = fleet.read_vessels(db, id=subject.id)[0]
    assert {key: row[key] for key in told} == told


@pytest.mark.parametrize(
    "state", [State.RESERVED, State.STARTING, State.RUNNING, State.UNREACHABLE]
)
def test_gpus_stay_held_until_the_host_has_said_so(db: Database, state: State) -> None:
    subject = make(db, "bert", state)
    fleet.stop_vessel(db, subject.id, "a test")
    assert fleet.read_gpus(db)[0]["vessel"] == "bert"
    check_conservation(db)
    fleet.bury_vessel(db, subject.id, ATTEMPT)
    assert fleet.read_gpus(db)[0]["vessel"] is None
    check_conservation(db)
    held = run_sql(db, "SELECT from_at, until_at FROM held WHERE vessel_id = %s", subject.id)
    assert len(held) == 1
    assert held[0]["until_at"] >= held[0]["from_at"]
