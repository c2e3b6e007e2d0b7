"""A piece of claimed work, as a value, and the claim that goes with it."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from conductor.metrics import Stopwatch
from drc import log, trace
from drc.db import Row
from drc.errors import DrcError, StaleAttempt


@dataclass(eq=False, slots=True)
class Work:
    """A row of claim_work. What belongs to a vessel is empty for a probe."""

    id: int
    verb: str
    host_id: int
    generation: int
    tries: int
    host: str = ""
    """Its name."""
    request: str = ""
    """The id of the request that made it so."""
    claim: str = ""
    """The conductor's name and a nonce: a claim that ran out cannot pass for a later one."""
    vessel_id: str = ""
    attempt: int = 0
    berth: int | None = None
    name: str = ""
    state: str = ""
    """The vessel's, when the work was claimed."""
    save: bool = False
    """What is in the vessel is to be kept when it ends."""
    kept_ipv4: str = ""
    """The address in a tailnet that the owner's vessel of that name had before."""
    home_from: int | None = None
    """The host whose home of its owner's is to come along."""
    device: str = ""
    """By which the tailnet knows it, as far as that was told to the API."""
    node: str | None = None
    """The device that its network container waited as; empty: as none; None: one has to ask it."""
    build_id: int = 0
    """Of a layer that is built without a vessel."""
    image: str = ""
    digest: str = ""
    """The very image, where it is to be that of an earlier vessel."""
    env: dict[str, str] = field(default_factory=dict[str, str])
    millicpus: int = 0
    memory_mib: int = 0
    shm_mib: int | None = None
    n_gpus: int = 0
    gpu_uuids: list[str] = field(default_factory=list[str])
    cards: list[str] = field(default_factory=list[str])
    """The cards that these are, or are slices of."""
    login: str = ""
    uid: int = 0
    step: str = ""
    """Where it is: one of STEPS of conductor.start, or of conductor.stop."""
    stopwatch: Stopwatch = field(init=False)
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when the claim ran out or the work became another: stop between two steps."""

    def __post_init__(self) -> None:
        self.stopwatch = Stopwatch(self.verb)

    def begin(self, step: str) -> None:
        """Go on to the next step, unless the vessel is to stop. Raises StaleAttempt."""
        self.go_on()
        self.stopwatch.turn(step)
        self.step = step

    def end(self) -> None:
        """The last step was taken, too."""
        self.stopwatch.turn("")

    def break_off(self, failed: DrcError) -> None:
        """It went wrong in the step that it is at; unless somebody else is to do it."""
        if isinstance(failed, StaleAttempt):
            return
        trace.note(failed=failed)
        self.stopwatch.span.close()
        trace.note(failed=failed)

    @contextmanager
    def bound(self) -> Generator[None]:
        """Around what is done for it: every line that is written says so, and so does every report
        to the API.
        """
        about = {"host": self.host, "vessel": self.name, "owner": self.login}
        with (
            log.bound(request=self.request, verb=self.verb, **about, attempt=self.attempt or ""),
            trace.span(self.verb, tries=self.tries),
        ):
            try:
                yield
            finally:
                self.stopwatch.span.close()

    def go_on(self) -> None:
        if self.lost.is_set():
            raise StaleAttempt("The claim was lost, or the vessel is to stop.")


def work_of(row: Row, claim: str) -> Work:
    known: dict[str, Any] = {
        key: value
        for key, value in row.items()
        if key in Work.__dataclass_fields__ and value is not None
    }
    if "vessel_id" in known:
        known["vessel_id"] = str(known["vessel_id"])
    return Work(claim=claim, **known)
