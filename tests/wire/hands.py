"""What people and a conductor do in a random day, and a diary of it for when it goes wrong."""

import contextlib
import itertools
from datetime import timedelta

from conductor.work import Work
from drc import fleet
from drc.errors import Refused, StaleAttempt, Unreachable
from drc.vessel import Verb
from tests.wire.killable import Killable
from tests.wire.model import SMALL, Answer, Said
from tests.wire.standin import STEPS


class Hands:
    def __init__(self, world: Killable) -> None:
        self.world = world
        self.stack = contextlib.ExitStack()
        self.owner = self.stack.enter_context(world.remote.client(f"ada-{world.number}"))
        self.operator = self.stack.enter_context(world.remote.client("op", "operator"))
        self.numbers = itertools.count()
        self.diary: list[str] = []
        self.seen: dict[str, Answer] = {}

    def new_key(self) -> str:
        return f"key-{next(self.numbers)}"

    def create(self, body: Answer, key: str) -> Said:
        return self.ask("/v1/vessels", {**body, **SMALL}, {"Idempotency-Key": key})

    def stop(self, name: str) -> Said:
        return self.ask(f"/v1/vessels/{name}/stop", None, {})

    def ask(self, path: str, body: Answer | None, headers: dict[str, str]) -> Said:
        """Raises Unreachable where the answer was lost."""
        said: Said
        try:
            said = self.owner.call("POST", path, body, headers=headers), ""
        except Refused as refused:
            said = {}, refused.code
        told = said[1] or said[0]["state"]
        self.diary.append(" ".join(map(str, [path, body or "", *headers.values(), "→", told])))
        return said

    def look(self) -> dict[str, Answer]:
        """The owner's vessels by id, those that ended too."""
        rows = self.owner.call("GET", "/v1/vessels", params={"ended": True})
        self.seen = {row["id"]: row for row in rows}
        return self.seen

    def look_at_gpus(self) -> list[Answer]:
        return self.operator.call("GET", "/v1/gpus")

    def claim(self) -> Work | None:
        """Each claim is another conductor's, as far as the outbox can tell."""
        self.world.standin.name = f"conductor:standin#{next(self.numbers)}"
        return self.world.standin.claim()

    def do(self, work: Work, until: str = STEPS[-1]) -> bool:
        """Whether it could be done; not while others share the GPUs that it is to give back.

        Raises Unreachable where an answer was lost, and what was done is not known.
        """
        standin = self.world.standin
        standin.until, standin.name = until, work.claim
        self.diary.append(f"{work.verb} {work.name} {until}")
        try:
            standin.do(work)
        except Unreachable as refused:
            if type(refused) is not Unreachable:  # nobody answered
                raise
            fleet.return_work(standin.db, work.id, work.claim, timedelta(0), None)
            return False
        return True

    def tell(self, verb: Verb, id: str) -> bool:
        """Say that a vessel was found or has failed. Whether its state allowed it."""
        self.diary.append(f"{verb} {id}")
        work = Work(0, "look", 0, 0, 0, vessel_id=id, attempt=1)
        tell = self.world.standin.tell
        try:
            if verb == Verb.FIND:
                tell.found(work)
            else:
                tell.fail(work, "it broke")
        except StaleAttempt:
            return False
        return True
