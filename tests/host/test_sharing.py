"""Two vessels of one owner on the same GPUs."""

import pytest

from drc.errors import Refused
from tests.host.machine import until
from tests.host.world import Person, Vessel, World

LITTLE = {"cpus": 0.5, "memory": "600MiB"}


def test_a_sharer_has_the_same_gpus_beside_the_other_and_ends_with_it(world: World, ada: Person):
    bert = ada.create("bert", gpus=2, gpu=["a100"], **LITTLE)
    ada.call("POST", "/v1/vessels", {"name": "eval", "share": "bert", **LITTLE})
    other = Vessel(ada, ada.reach("eval", "running"))
    given = [vessel.inspect()["HostConfig"]["DeviceRequests"] for vessel in (bert, other)]
    assert given[0] == given[1]
    assert len(given[0][0]["DeviceIDs"]) == 2
    assert other.ssh("echo", "$DRC_VESSEL") == "eval\n"
    assert len(world.held()) == 2
    ada.call("POST", "/v1/vessels/bert/stop")
    for name in ("eval", "bert"):
        ada.reach(name, "buried")
    until("the GPUs are free", lambda: not world.held())


def test_somebody_elses_vessel_cannot_be_shared(world: World, ada: Person, bob: Person):
    ada.create("bert", gpus=1, **LITTLE)
    with pytest.raises(Refused, match="You have no vessel called bert"):
        bob.call("POST", "/v1/vessels", {"name": "eval", "share": "bert", **LITTLE})
