"""The life of a vessel: every state, and every arrow between two of them, in one table.

queued       accepted; no host can hold it now.
             Moved on by whoever frees a GPU, and by the API's sweep should that one die.
reserved     GPUs, CPUs and memory of one host are its own; work lies in the outbox.
             Moved on by a conductor; after RESERVED_LIMIT without one the sweep fails it.
starting     a conductor is making the container.
             That conductor's lease runs out if it dies, and another repeats the same attempt;
             after STARTING_LIMIT the sweep fails it.
running      its owner can enter it: SSH and Jupyter were both seen ready.
unreachable  its host is silent. Nothing is given back; it comes back with its host.
stopping     it must go; GPUs stay held until the host's Docker says the container is absent.
             A conductor repeats it until then; after STOPPING_LIMIT it shows as overdue.
buried       gone, as somebody wanted.
failed       gone, and `reason` says why.

A stopping vessel carries its `outcome`, buried or failed: that is where `absent` leads.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from drc.errors import WrongState


class State(StrEnum):
    QUEUED = "queued"
    RESERVED = "reserved"
    STARTING = "starting"
    RUNNING = "running"
    UNREACHABLE = "unreachable"
    STOPPING = "stopping"
    BURIED = "buried"
    FAILED = "failed"


class Verb(StrEnum):
    PLACE = "place"  # GPUs were found for a waiting vessel
    START = "start"  # a conductor took the work
    RUN = "run"  # the attempt's token was presented
    LOSE = "lose"  # the host fell silent
    FIND = "find"  # the host is back, and the container runs
    STOP = "stop"  # the owner, an operator or the undertaker ends it
    FAIL = "fail"  # it cannot go on, for the reason given
    ABSENT = "absent"  # the host's Docker says that there is no container


ENDED = frozenset({State.BURIED, State.FAILED})
LIVING = frozenset(State) - ENDED
ON_A_HOST = LIVING - {State.QUEUED}
AGEING = ON_A_HOST - {State.STOPPING}
"""A lifetime begins with the GPUs, and counts until the end has begun."""

RESERVED_LIMIT = timedelta(seconds=30)
"""A conductor takes new work in milliseconds; half a minute without one means there is none."""
STARTING_LIMIT = timedelta(seconds=60)
"""Counted from the image being there. A start takes about a second, on a busy engine tens."""
STOPPING_LIMIT = timedelta(seconds=60)
"""Docker kills within 10 s of being asked; a minute means that host or engine is ill."""
DEFAULT_LIFETIME = timedelta(days=7)
LONGEST_LIFETIME = timedelta(days=90)
"""Nobody sets an end further ahead than this, be it at first or later."""


@dataclass(frozen=True, slots=True)
class Arrow:
    verb: Verb
    source: State
    target: State


def _arrows() -> tuple[Arrow, ...]:
    s, v = State, Verb
    return (
        Arrow(v.PLACE, s.QUEUED, s.RESERVED),
        Arrow(v.START, s.RESERVED, s.STARTING),
        Arrow(v.RUN, s.STARTING, s.RUNNING),
        Arrow(v.LOSE, s.RUNNING, s.UNREACHABLE),
        Arrow(v.FIND, s.UNREACHABLE, s.RUNNING),
        Arrow(v.STOP, s.QUEUED, s.BURIED),
        Arrow(v.STOP, s.RESERVED, s.STOPPING),
        Arrow(v.STOP, s.STARTING, s.STOPPING),
        Arrow(v.STOP, s.RUNNING, s.STOPPING),
        Arrow(v.STOP, s.UNREACHABLE, s.STOPPING),
        Arrow(v.FAIL, s.RESERVED, s.STOPPING),
        Arrow(v.FAIL, s.STARTING, s.STOPPING),
        Arrow(v.FAIL, s.RUNNING, s.STOPPING),
        Arrow(v.FAIL, s.UNREACHABLE, s.STOPPING),
        Arrow(v.ABSENT, s.STOPPING, s.BURIED),
        Arrow(v.ABSENT, s.STOPPING, s.FAILED),
    )


ARROWS = _arrows()


def sources(verb: Verb) -> list[str]:
    """The states from which `verb` leads somewhere, as the statements under sql/ want them."""
    return sorted({arrow.source.value for arrow in ARROWS if arrow.verb == verb})


def target(state: State, verb: Verb, outcome: State = State.BURIED) -> State:
    """Where `verb` leads from `state`; `outcome` chooses between the two ends of a stopping vessel.

    Raises WrongState when the table has no such arrow.
    """
    ends = [arrow.target for arrow in ARROWS if (arrow.source, arrow.verb) == (state, verb)]
    if not ends:
        raise WrongState(f"A {state} vessel cannot {verb}.")
    return outcome if outcome in ends else ends[0]


def diagram() -> str:
    """The table as a Mermaid state diagram; docs/life.md holds this text, and a test compares."""
    lines = ["stateDiagram-v2", "    [*] --> queued: create", "    [*] --> reserved: create"]
    lines += [f"    {arrow.source} --> {arrow.target}: {arrow.verb}" for arrow in ARROWS]
    lines += [f"    {state} --> [*]" for state in sorted(ENDED)]
    return "\n".join(lines)
