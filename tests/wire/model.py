"""A model of a fleet: what must be true of its vessels, given what was asked and answered.

It knows a vessel by what the API acknowledged, and moves it by the truth table that the tests keep
by hand. Where an answer was lost a vessel may be in one of several states, until it is seen again.
"""

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from conductor.work import Work
from drc.vessel import ENDED, ON_A_HOST, State, Verb
from tests.life import TRUTH
from tests.wire.standin import STEPS

FLEET = {"gpu1": ("a100", 4), "gpu2": ("h100", 2)}
SMALL = {"cpus": 1, "memory": "1GB"}
"""What each vessel asks for beside GPUs, so that these alone decide where it fits."""
UP = {State.RESERVED, State.STARTING, State.RUNNING}
GIVEN_UP = " within "
"""So says the reason of a vessel that the API's sweep found past its limit."""
ARROWS = {
    (source, to)
    for (source, _), target in TRUTH.items()
    if target != "-"
    for to in (ENDED if target == "outcome" else [State(target)])
}
Answer = dict[str, Any]
Said = tuple[Answer, str]
"""An answer and "", or {} and the code of a refusal."""


@dataclass(slots=True)
class Vessel:
    """An acknowledged vessel."""

    id: str
    name: str
    gpus: int
    models: list[str]
    shares: str | None
    """The id of the vessel whose GPUs it shares."""
    may: set[State]
    """The states it may be in: one, unless an answer was lost."""
    host: str | None = None
    outcome: State = State.BURIED

    def can(self, verb: Verb) -> bool:
        return any(TRUTH[state, verb] != "-" for state in self.may)

    def is_living(self) -> bool:
        return not self.may <= ENDED

    def move(self, verb: Verb, *, perhaps: bool = False) -> None:
        if verb in (Verb.STOP, Verb.FAIL) and self.can(verb):
            self.outcome = State.FAILED if verb == Verb.FAIL else State.BURIED
        moved = {self.after(state, verb) for state in self.may}
        self.may = moved | self.may if perhaps else moved

    def after(self, state: State, verb: Verb) -> State:
        to = TRUTH[state, verb]
        if to == "outcome":
            return self.outcome
        return state if to == "-" else State(to)


@dataclass(slots=True)
class Model:
    vessels: dict[str, Vessel] = field(default_factory=dict[str, Vessel])
    requests: list[tuple[str, Answer, str]] = field(default_factory=list[tuple[str, Answer, str]])
    """Key and body of each create that was acknowledged, and the vessel's id."""
    closed: set[str] = field(default_factory=set[str])
    """Cordoned hosts."""

    def named(self, name: str) -> Vessel | None:
        """The living vessel of that name."""
        return next((v for v in self.vessels.values() if v.name == name and v.is_living()), None)

    def last(self, name: str) -> Vessel | None:
        """It, or the last one that bore it."""
        bore = [vessel for vessel in self.vessels.values() if vessel.name == name]
        return self.named(name) or (bore[-1] if bore else None)

    def on(self, host: str) -> list[Vessel]:
        return [v for v in self.vessels.values() if v.host == host and v.is_living()]

    def sharers(self, id: str) -> list[Vessel]:
        """Those that share a vessel's GPUs, and live."""
        return [v for v in self.vessels.values() if v.shares == id and v.is_living()]

    # What is answered -----------------------------------------------------------------------------

    def refusals(self, body: Answer) -> set[str]:
        """The codes with which a create with a new key may be refused now; none: it must not be."""
        if "share" in body:
            lead = self.last(body["share"])
            if lead is None:
                return {"no-such-vessel"}
            if lead.shares or not lead.gpus or not lead.may <= UP or lead.host in self.closed:
                return {"wrong-state", "nothing-fits"}
        elif not body["gpus"] and body["gpu"]:
            return {"bad-input"}
        elif not any(
            count >= body["gpus"] and model in (body["gpu"] or [model])
            for model, count in FLEET.values()
        ):
            return {"nothing-fits"}
        return {"name-taken"} if self.named(body["name"]) else set()

    def created(self, key: str, body: Answer, said: Said) -> None:
        """What a create with a new key was told, in the end."""
        answer, code = said
        refusals = self.refusals(body)
        if refusals:
            assert code in refusals
            return
        assert code == ""
        id, state = answer["id"], State(answer["state"])
        assert id not in self.vessels
        assert (answer["name"], state in (State.QUEUED, State.RESERVED)) == (body["name"], True)
        lead = self.named(body["share"]) if "share" in body else None
        models = body.get("gpu") or [model for model, _ in FLEET.values()]
        gpus, shares = (0, lead.id) if lead else (body["gpus"], None)
        self.vessels[id] = Vessel(id, body["name"], gpus, models, shares, {state})
        self.requests.append((key, body, id))

    def stopped(self, name: str, said: Said) -> None:
        """What a stop was told."""
        answer, code = said
        vessel = self.named(name)
        if vessel is None:
            assert code == ("wrong-state" if self.last(name) else "no-such-vessel")
        else:
            assert code == ""
            assert answer["id"] == vessel.id
            self.move(vessel, Verb.STOP)

    def move(self, vessel: Vessel, verb: Verb) -> None:
        """Whoever shares a vessel's GPUs ends with it."""
        if verb in (Verb.STOP, Verb.FAIL) and vessel.can(verb):
            for sharer in self.sharers(vessel.id):
                sharer.move(verb)
        vessel.move(verb)

    def worked(self, work: Work, until: str, *, perhaps: bool = False) -> None:
        """A conductor did a piece of work, a start until that step."""
        vessel = self.vessels[work.vessel_id]
        if work.verb == "start":
            vessel.move(Verb.START, perhaps=perhaps)
            if until == STEPS[-1]:
                vessel.move(Verb.RUN, perhaps=perhaps)
        elif not self.sharers(vessel.id):
            vessel.move(Verb.ABSENT, perhaps=perhaps)

    # What is seen ---------------------------------------------------------------------------------

    def left_waiting(self, seen: dict[str, Answer]) -> list[str]:
        """The names of those who wait though they would fit."""
        assert seen.keys() == self.vessels.keys()
        used = Counter(
            row["host"] for row in seen.values() if not row["shares"] for _ in row["gpus"]
        )
        free = [
            (model, count - used[host])
            for host, (model, count) in FLEET.items()
            if host not in self.closed
        ]
        return [
            vessel.name
            for vessel in self.vessels.values()
            if seen[vessel.id]["state"] == State.QUEUED
            and any(model in vessel.models and left >= vessel.gpus for model, left in free)
        ]

    def check(self, seen: dict[str, Answer]) -> None:
        """The API's list, by id, is as expected: no vessel more or less, each where it may be."""
        assert seen.keys() == self.vessels.keys()
        for id, row in seen.items():
            vessel, state = self.vessels[id], State(row["state"])
            vessel.move(Verb.PLACE, perhaps=True)
            if state == State.STOPPING and GIVEN_UP in (row["reason"] or ""):
                vessel.move(Verb.FAIL, perhaps=True)
            assert state in vessel.may, f"{vessel.name} is {state} and may be {vessel.may}"
            assert vessel.host or row["host"] not in self.closed
            vessel.may, vessel.host = {state}, row["host"]
        names = [vessel.name for vessel in self.vessels.values() if vessel.is_living()]
        assert len(names) == len(set(names))

    def check_gpus(self, seen: dict[str, Answer], gpus: list[Answer]) -> None:
        """Each vessel on a host has the GPUs that it asked for, and nobody else has any."""
        holders: dict[str, str] = {}
        for id, row in seen.items():
            vessel, uuids = self.vessels[id], [gpu["uuid"] for gpu in row["gpus"]]
            if vessel.shares:
                assert row["gpus"] == (seen[vessel.shares]["gpus"] if vessel.is_living() else [])
                continue
            assert len(uuids) == (vessel.gpus if vessel.may <= ON_A_HOST else 0)
            assert {gpu["model"] for gpu in row["gpus"]} <= set(vessel.models)
            assert not holders.keys() & set(uuids)
            holders |= dict.fromkeys(uuids, vessel.name)
        assert {gpu["uuid"]: gpu["vessel"] for gpu in gpus if gpu["vessel"]} == holders

    def check_history(self, id: str, kinds: Iterable[str]) -> None:
        """Its events tell a way along the arrows, to where it is now."""
        vessel = self.vessels[id]
        states = [State(kind) for kind in kinds if kind in set(State)]
        assert set(states[-1:]) == vessel.may, (vessel.name, states)
        for step in itertools.pairwise(states):
            assert step in ARROWS, (vessel.name, states)
