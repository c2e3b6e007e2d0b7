"""Vessels on the same GPUs end in whichever order their hosts take them away."""

import pytest

from conductor.work import Work
from drc import fleet
from drc.db import Database
from drc.errors import Unreachable
from drc.vessel import State
from tests.wire.served import Api
from tests.wire.standin import LOG, StandIn


@pytest.fixture
def ending(api: Api, standin: StandIn) -> dict[str, Work]:
    """The work of ending bert and eval, which shares its GPUs."""
    api.create("bert", gpus=2)
    api.create("eval", share="bert")
    for _ in range(2):
        standin.do(standin.take("start"))
    api.raw("POST", "/v1/vessels/bert/stop")
    works = [standin.take("stop") for _ in range(2)]
    return {work.name: work for work in works}


def test_the_gpus_wait_for_the_last_of_them(
    api: Api, standin: StandIn, ending: dict[str, Work]
) -> None:
    for _ in range(2):
        with pytest.raises(Unreachable, match="still shares its GPUs"):
            standin.tell.absent(ending["bert"], LOG)
    standin.tell.absent(ending["eval"], LOG)
    standin.tell.absent(ending["bert"], LOG)
    assert [api.show(name)["state"] for name in ("bert", "eval")] == ["buried", "buried"]


def test_a_sharer_that_ends_just_after_the_books_were_read_leaves_nobody_behind(
    api: Api, standin: StandIn, ending: dict[str, Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement saw eval living, and what follows sees it buried: bert is asked for again."""
    bury = fleet.bury_vessel

    def bury_and_be_late(db: Database, id: str, attempt: int) -> State | None:
        buried = bury(db, id, attempt)
        bury(db, ending["eval"].vessel_id, 1)
        return buried

    monkeypatch.setattr(fleet, "bury_vessel", bury_and_be_late)
    with pytest.raises(Unreachable):
        standin.tell.absent(ending["bert"], LOG)
    standin.tell.absent(ending["bert"], LOG)
    assert api.show("bert")["state"] == "buried"
