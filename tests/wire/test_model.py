"""What was acknowledged stays, whatever is killed: random days of a fleet beside a model of it.

Hypothesis chooses the days. People, a conductor and whoever kills processes take turns; after each
turn the API's list is compared with the model, and the books with themselves. `KILLS=500` walks
long and anew each time, and looks for the shortest day that goes wrong, for five minutes. Else the
same few days are walked, so that a failure is the fault of a change and not of luck.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from conductor.work import Work
from drc import fleet
from drc.errors import Unreachable
from drc.vessel import ENDED, State, Verb
from tests.fleets import check_conservation, run_sql
from tests.wait import wait_until
from tests.wire.hands import Hands
from tests.wire.killable import HELD, WRITTEN, Killable, Moment, killable
from tests.wire.model import FLEET, Answer, Model
from tests.wire.standin import STEPS

T = TypeVar("T")
FEW, MANY = 24, 1000  # kills at most: half a minute, and a quarter of an hour
WANTED = os.environ.get("KILLS", "").replace("all", str(MANY))
KILLS = int(WANTED) if WANTED.isdigit() else FEW
PER_DAY = 2  # kills, so that a day that went wrong is short enough to be read
TURNS = 40  # in a day

NAME = st.sampled_from(["bert", "otter", "lark", "ibex", "wren", "moth"])
HOST = st.sampled_from(sorted(FLEET))
CLAIMED = "claimed"
STEP = st.sampled_from([CLAIMED, *STEPS, STEPS[-1]])
WHICH = st.integers(0, 11)
LAPSED, TAKEN, STOPPED = "lapsed", "taken", "stopped"
MEANWHILE = st.sampled_from([LAPSED, TAKEN, STOPPED])
VICTIM = st.sampled_from(["api", "postgres"])
MOMENT = st.sampled_from([HELD, WRITTEN]) | st.integers(0, 12)
MODELS = st.sampled_from([[], [], ["a100"], ["h100"], ["a100", "h100"]])
ALONE = st.fixed_dictionaries({"name": NAME, "gpus": st.integers(0, 4), "gpu": MODELS})
BESIDE = st.fixed_dictionaries({"name": NAME, "share": NAME})

FORGOTTEN = """
SELECT name, state FROM vessel v WHERE state IN ('reserved', 'starting', 'stopping')
AND NOT EXISTS (SELECT FROM outbox o WHERE o.vessel_id = v.id AND o.verb IN ('start', 'stop'))
"""


class Day(RuleBasedStateMachine):
    def __init__(self, world: Killable) -> None:
        super().__init__()
        world.begin(FLEET)
        self.world, self.hands, self.model = world, Hands(world), Model()
        self.dead: list[Work] = []
        """Claims whose holders are thought dead."""
        self.kills = 0

    @initialize(runs=st.booleans())
    def begin(self, runs: bool) -> None:
        """Somebody is there, and somebody waits, whatever follows."""
        self.create({"name": "bert", "gpus": 2, "gpu": ["a100"]})
        self.create({"name": "otter", "share": "bert"})
        self.create({"name": "lark", "gpus": 3, "gpu": []})
        if runs:
            self.work_off()

    # People ---------------------------------------------------------------------------------------

    @rule(body=ALONE | BESIDE)
    def create(self, body: Answer) -> None:
        key = self.hands.new_key()
        self.model.created(key, body, self.hands.create(body, key))

    @rule(which=WHICH, changed=st.booleans())
    def create_again(self, which: int, changed: bool) -> None:
        """The same key is the same vessel, whatever has become of it."""
        key, body, id = self.model.requests[which % len(self.model.requests)]
        if changed:
            assert self.hands.create({**body, "lifetime": "1d"}, key) == ({}, "request-changed")
        else:
            answer, code = self.hands.create(body, key)
            assert (answer.get("id"), code) == (id, "")

    @rule(name=NAME)
    def stop(self, name: str) -> None:
        self.model.stopped(name, self.hands.stop(name))

    @rule(host=HOST, closed=st.booleans())
    def cordon(self, host: str, closed: bool) -> None:
        self.hands.operator.call("POST", f"/v1/hosts/{host}/{'cordon' if closed else 'uncordon'}")
        self.model.closed = self.model.closed - {host} | ({host} if closed else set())

    # Conductors and hosts -------------------------------------------------------------------------

    @rule(until=STEP)
    def work(self, until: str) -> None:
        """The oldest there is, until a step; its holder dies then, if that is not the last."""
        if work := self.hands.claim():
            self.do(work, until)

    @rule()
    def work_off(self) -> None:
        """All there is, each to its end."""
        for work in list(iter(self.hands.claim, None)):
            self.do(work, STEPS[-1])

    def do(self, work: Work, until: str) -> None:
        sharers = self.model.sharers(work.vessel_id)
        if until == CLAIMED:
            self.dead.append(work)
        elif self.hands.do(work, until):
            self.model.worked(work, until)
            if work.verb == "start" and until != STEPS[-1]:
                self.dead.append(work)
        else:
            assert work.verb == "stop"
            assert sharers

    @rule(body=ALONE, meanwhile=MEANWHILE, until=st.sampled_from(STEPS))
    def holder_was_only_slow(self, body: Answer, meanwhile: str, until: str) -> None:
        """It goes on, whatever others have done meanwhile."""
        self.create(body)
        work = self.dead.pop(0) if self.dead else self.hands.claim()
        if work is None:
            return
        if meanwhile == STOPPED:
            self.stop(work.name)
        else:
            self.leases_run_out()
        if meanwhile == TAKEN:
            self.work(until)
        self.hands.do(work, until)
        self.model.worked(work, until, perhaps=True)

    @rule()
    def leases_run_out(self) -> None:
        self.world.let_leases_run_out()

    @rule(host=HOST)
    def host_is_silent(self, host: str) -> None:
        running = [vessel for vessel in self.model.on(host) if vessel.can(Verb.LOSE)]
        id = fleet.find_host(self.world.db, host)
        assert id is not None
        assert self.world.standin.silent(id) == len(running)
        for vessel in running:
            vessel.move(Verb.LOSE)
        # it answers again, and its vessels are found later
        self.world.standin.tell.health(id, {"exporter": False, "driver": None, "gpus": {}})

    @rule(name=NAME, verb=st.sampled_from([Verb.FIND, Verb.FAIL]))
    def vessel_is_found_or_fails(self, name: str, verb: Verb) -> None:
        if vessel := self.model.named(name):
            assert self.hands.tell(verb, vessel.id) == vessel.can(verb)
            self.model.move(vessel, verb)

    # Killed while something is under way ----------------------------------------------------------

    def may_kill(self) -> bool:
        return self.kills < PER_DAY

    def killed(self, victim: str, moment: Moment, deed: Callable[[], T]) -> T | Unreachable:
        self.hands.diary.append(f"{victim} is killed ({moment}) during:")
        return self.world.crash(victim, moment, deed)

    @precondition(may_kill)
    @rule(body=ALONE | BESIDE, victim=VICTIM, moment=MOMENT)
    def killed_while_it_creates(self, body: Answer, victim: str, moment: Moment) -> None:
        """The same again finds the vessel that was made, or makes the one that was not."""
        self.kills += 1
        key = self.hands.new_key()
        first = self.killed(victim, moment, lambda: self.hands.create(body, key))
        again = self.hands.create(body, key)
        if not isinstance(first, Unreachable):
            assert (first[0].get("id"), first[1]) == (again[0].get("id"), again[1])
        self.model.created(key, body, again)

    @precondition(may_kill)
    @rule(name=NAME, victim=VICTIM, moment=MOMENT)
    def killed_while_it_stops(self, name: str, victim: str, moment: Moment) -> None:
        self.kills += 1
        waits = self.model.named(name)
        first = self.killed(victim, moment, lambda: self.hands.stop(name))
        again = self.hands.stop(name)
        if not isinstance(first, Unreachable):
            self.model.stopped(name, first)
        elif waits and waits.may == {State.QUEUED} and again[1] == "wrong-state":
            self.model.move(waits, Verb.STOP)  # buried at once, and nobody heard of it
        else:
            self.model.stopped(name, again)

    @precondition(may_kill)
    @rule(until=st.sampled_from(STEPS), victim=VICTIM, moment=MOMENT)
    def killed_while_it_works(self, until: str, victim: str, moment: Moment) -> None:
        self.kills += 1
        if work := self.hands.claim():
            done = self.killed(victim, moment, lambda: self.hands.do(work, until))
            self.model.worked(work, until, perhaps=done is not True)
            self.dead.append(work)

    # What holds -----------------------------------------------------------------------------------

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        self.world.wait_for_orphans()
        self.world.stop_the_clocks()
        wait_until(lambda: not self.model.left_waiting(self.hands.look()), "who fits is placed")
        self.model.check(self.hands.seen)
        self.model.check_gpus(self.hands.seen, self.hands.look_at_gpus())
        check_conservation(self.world.db)
        assert run_sql(self.world.db, FORGOTTEN) == []

    def teardown(self) -> None:
        failed = sys.exception()
        try:
            if failed is None:
                self.end()
                self.world.is_clean = True
        except Exception as wrong:
            failed = wrong
            raise
        finally:
            if failed is not None:
                failed.add_note("\n".join(["The day was:", *self.hands.diary]))
            self.hands.stack.close()

    def end(self) -> None:
        """All work is done, all vessels are stopped, and nothing is left."""
        for host in FLEET:
            self.cordon(host, False)
        self.work_to_the_end()
        vessels = self.model.vessels
        settled = ENDED | {State.QUEUED, State.RUNNING, State.UNREACHABLE}
        assert all(vessel.may <= settled for vessel in vessels.values()), vessels
        for vessel in vessels.values():
            if vessel.is_living():
                self.stop(vessel.name)
        self.work_to_the_end()
        assert not any(vessel.is_living() for vessel in vessels.values()), vessels
        assert not any(gpu["vessel"] for gpu in self.hands.look_at_gpus())
        for id in vessels:
            events = "SELECT kind FROM event WHERE vessel_id = %s ORDER BY id"
            self.model.check_history(
                id, [row["kind"] for row in run_sql(self.world.db, events, id)]
            )

    def work_to_the_end(self) -> None:
        for _ in range(10):
            self.leases_run_out()
            self.all_is_as_it_must_be()
            if not run_sql(self.world.db, "SELECT id FROM outbox"):
                return
            self.work_off()
        raise AssertionError("There is work that is never done.")


@pytest.fixture(scope="module")
def world() -> Iterator[Killable]:
    with killable() as world:
        yield world


def test_what_was_acknowledged_stays_whatever_is_killed(world: Killable) -> None:
    run_state_machine_as_test(
        cast(Any, lambda: Day(world)),
        settings=settings(
            max_examples=max(KILLS // PER_DAY, 1),
            stateful_step_count=TURNS,
            derandomize=not WANTED.isdigit(),
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            phases=[Phase.generate, *([Phase.shrink] if WANTED.isdigit() else [])],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    assert "Traceback" not in world.log.read_text()
