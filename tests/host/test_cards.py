"""Cards that are cut into slices, and cards that go: on a real engine."""

from collections.abc import Iterator
from typing import Any

import pytest

from drc.errors import NothingFits
from tests.fleets import check_conservation
from tests.host.machine import BRIDGED, BRIDGES, Machine, until
from tests.host.world import Person, World

CUT, WHOLE = (f"GPU-5a6f1d0c-0000-4000-8000-00000000002{n}" for n in range(2))
MIG = [f"MIG-5a6f1d0c-0000-4000-8000-00000000003{n}" for n in range(4)]
CARDS = f"""\
0, {CUT}, NVIDIA A100-SXM4-80GB, 81920, Enabled
1, {WHOLE}, NVIDIA A100-SXM4-80GB, 81920, Disabled
"""
LISTED = f"""\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: {CUT})
  MIG 3g.40gb     Device  0: (UUID: {MIG[0]})
  MIG 1c.2g.20gb  Device  1: (UUID: {MIG[1]})
  MIG 1g.10gb     Device  2: (UUID: {MIG[2]})
  MIG 1g.10gb     Device  3: (UUID: {MIG[3]})
GPU 1: NVIDIA A100-SXM4-80GB (UUID: {WHOLE})
"""
TABLE = """\
| MIG devices:                                                                            |
+------------------+----------------------------------+-----------+-----------------------+
| GPU  GI  CI  MIG |              Shared Memory-Usage |        Vol|        Shared         |
|      ID  ID  Dev |                Shared BAR1-Usage | SM     Unc| CE ENC  DEC  OFA  JPG |
|                  |                                  |        ECC|                       |
|==================+==================================+===========+=======================|
|  0    2   0   0  |              37MiB / 40192MiB    | 42      0 |  3   0    2    0    0 |
|                  |                 0MiB / 65535MiB  |           |                       |
+------------------+----------------------------------+-----------+-----------------------+
|  0    3   0   1  |              25MiB / 19968MiB    | 14      0 |  2   0    1    0    0 |
|                  |                 0MiB / 32767MiB  |           |                       |
+------------------+----------------------------------+-----------+-----------------------+
|  0    9   0   2  |              12MiB /  9728MiB    | 14      0 |  1   0    0    0    0 |
|                  |                 0MiB / 16383MiB  |           |                       |
+------------------+----------------------------------+-----------+-----------------------+
|  0   10   0   3  |              12MiB /  9728MiB    | 14      0 |  1   0    0    0    0 |
|                  |                 0MiB / 16383MiB  |           |                       |
+------------------+----------------------------------+-----------+-----------------------+
"""


def cards(fleet: World, *, well: bool = True) -> dict[str, dict[str, Any]]:
    """The second host's cards by UUID: those that a look found, or those that it missed."""
    return {gpu["uuid"]: gpu for gpu in fleet.host("gpu2")["gpus"] if (gpu["ill"] is None) == well}


def look(fleet: World, ida: Person, *expected: str) -> None:
    """Have the second host looked at, until it has these cards and no others."""
    ida.call("POST", "/v1/hosts/gpu2/probe")
    until("they are there", lambda: set(cards(fleet)) == set(expected))


@pytest.fixture
def bridged(fleet: World, ida: Person, second: Machine) -> Iterator[list[str]]:
    """The cards that the second host has, and has again in the end."""
    uuids = [line.split(", ")[1] for line in BRIDGED.splitlines()]
    yield uuids
    fleet.stop_everything()
    second.set_cards(BRIDGED, topology=BRIDGES)
    look(fleet, ida, *uuids)
    check_conservation(fleet.db)


@pytest.fixture
def cut(fleet: World, ida: Person, second: Machine, bridged: list[str]) -> None:
    second.set_cards(CARDS, listed=LISTED, table=TABLE)
    look(fleet, ida, WHOLE, MIG[0], MIG[2], MIG[3])


def test_slices_are_cards_of_their_own_and_compute_slices_are_left_out(fleet: World, cut: None):
    shown = {
        uuid: (card["model"], card["memory_mib"], card["parent"])
        for uuid, card in cards(fleet).items()
    }
    assert shown == {
        WHOLE: ("a100", 81920, None),
        MIG[0]: ("a100-3g.40gb", 40192, CUT),
        MIG[2]: ("a100-1g.10gb", 9728, CUT),
        MIG[3]: ("a100-1g.10gb", 9728, CUT),
    }
    host = fleet.host("gpu2")
    assert host["facts"]["left_out"] == ["1c.2g.20gb on GPU 0 shares its memory with others"]
    assert host["n_gpus"] == 4


def test_a_slice_is_given_to_who_names_it_by_its_own_id(ida: Person, cut: None):
    vessel = ida.create("thin", gpus=1, gpu=["a100-1g.10gb"])
    assert vessel.shown["host"] == "gpu2"
    (request,) = vessel.inspect()["HostConfig"]["DeviceRequests"]
    assert request["DeviceIDs"] == [MIG[2]]
    assert vessel.ssh("printenv", "NVIDIA_VISIBLE_DEVICES") == f"{MIG[2]}\n"


def test_nobody_else_gets_a_slice(fleet: World, ida: Person, cut: None):
    assert ida.ask("any", host="gpu2", gpus=1)["gpus"][0]["uuid"] == WHOLE
    assert ida.ask("another", host="gpu2", gpus=1)["state"] == "queued"
    with pytest.raises(NothingFits):
        ida.ask("two", host="gpu2", gpus=2)
    ida.ask("both", host="gpu2", gpus=2, gpu=["a100-1g.10gb"])
    assert fleet.held() == {WHOLE, MIG[2], MIG[3]}


def test_a_card_that_goes_stays_with_who_holds_it_and_is_nobodys_after(
    fleet: World, ida: Person, second: Machine, bridged: list[str]
):
    vessel = ida.create("holds", host="gpu2", gpus=2)
    mine = [gpu["uuid"] for gpu in vessel.shown["gpus"]]
    assert ida.ask("all", host="gpu2", gpus=4)["state"] == "queued"
    gone, others = mine[0], [uuid for uuid in bridged if uuid != mine[0]]
    fell_off = "[Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error]"
    lines = [fell_off if gone in line else line for line in BRIDGED.splitlines()]
    second.set_cards("\n".join(lines))
    look(fleet, ida, *others)
    assert cards(fleet, well=False)[gone]["ill"].startswith("gone: ")
    assert fleet.held() == set(mine)
    assert [gpu["uuid"] for gpu in ida.show("holds")["gpus"]] == mine
    assert vessel.ssh("echo", "alive") == "alive\n"
    ida.stop("holds")
    assert not fleet.held()
    rest = ida.create("rest", host="gpu2", gpus=3)
    assert {gpu["uuid"] for gpu in rest.shown["gpus"]} == set(others)
    assert ida.show("all")["state"] == "queued"
    ida.stop("rest")
    second.set_cards(BRIDGED, topology=BRIDGES)
    look(fleet, ida, *bridged)
    assert {gpu["uuid"] for gpu in ida.reach("all", "running")["gpus"]} == set(bridged)
