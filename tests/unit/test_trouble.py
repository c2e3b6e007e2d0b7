"""What is wrong with a host, from what a look found and what measurements let one suspect."""

from typing import Any

import pytest

from drc.trouble import FATAL, HARMLESS, Finding, Kind, diagnose, lets_pass

WELL = {"fault": "", "leftover": ""}
HEALTH: dict[str, Any] = {
    "exporter": True, "driver": None, "driver_said": "", "gpus": {"GPU-0": WELL, "GPU-1": WELL},
}  # fmt: skip


def book(uuid: str, **signs: int) -> dict[str, Any]:
    return {"uuid": uuid, "index": int(uuid[-1]), "accepted": None, "signs": signs}


BOOKS = [book("GPU-0"), book("GPU-1")]


def kinds(health: dict[str, Any], books: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(found.kind.value, found.uuid) for found in diagnose({**HEALTH, **health}, books)]


def test_a_host_that_is_well_has_no_trouble() -> None:
    assert kinds({}, BOOKS) == []
    assert kinds({"exporter": False}, BOOKS) == []  # nobody misses anything: there may be none


@pytest.mark.parametrize(
    ("changed", "signs", "expected"),
    [
        ({}, {"missing": 1}, ("unscraped", None)),
        ({"exporter": False}, {"missing": 1}, ("exporter-down", None)),
        ({"gpus": {"GPU-0": WELL}}, {}, ("gpu-lost", "GPU-1")),
        ({"gpus": {"GPU-0": WELL}}, {"missing": 1}, ("gpu-lost", "GPU-1")),
        ({"driver": "driver-mismatch", "gpus": {}}, {"missing": 1}, ("driver-mismatch", None)),
        ({"driver": "driver-fails", "gpus": {}}, {}, ("driver-fails", None)),
        ({}, {"xid": 79}, ("gpu-fault", "GPU-1")),
        ({}, {"xid": 31}, ("program-fault", "GPU-1")),
        ({}, {"ecc": 2}, ("gpu-fault", "GPU-1")),
        ({}, {"remap": 1}, ("gpu-fault", "GPU-1")),
        ({"gpus": {"GPU-0": WELL, "GPU-1": {"fault": "it needs a reset", "leftover": ""}}}, {},
         ("gpu-fault", "GPU-1")),
        ({"gpus": {"GPU-0": WELL, "GPU-1": {"fault": "", "leftover": "python"}}}, {},
         ("leftover", "GPU-1")),
    ],
)  # fmt: skip
def test_each_trouble_is_told_apart(
    changed: dict[str, Any], signs: dict[str, int], expected: tuple[str, str | None]
) -> None:
    assert kinds(changed, [book("GPU-0"), book("GPU-1", **signs)]) == [expected]


def test_an_xid_that_nobody_knows_is_neither() -> None:
    assert kinds({}, [book("GPU-0", xid=999), book("GPU-1")]) == []
    assert not set(FATAL) & set(HARMLESS)
    assert {48, 63, 74, 79, 95} <= set(FATAL)
    assert {13, 31, 43} <= set(HARMLESS)


def test_several_causes_of_one_gpu_are_one_fault() -> None:
    (found,) = diagnose(HEALTH, [book("GPU-0", xid=48, ecc=2), book("GPU-1")])
    assert found.kind is Kind.GPU_FAULT
    assert found.detail == (
        "XID 48: a memory error that could not be corrected; "
        "2 memory errors that could not be corrected"
    )


def test_all_the_gpus_that_nobody_hears_are_one_trouble_of_their_host() -> None:
    (found,) = diagnose(HEALTH, [book("GPU-0", missing=1), book("GPU-1", missing=1)])
    assert (found.kind, found.uuid) == (Kind.UNSCRAPED, None)
    assert found.detail == "its dcgm-exporter answers, but Prometheus has no samples of 2 GPUs"


@pytest.mark.parametrize(
    ("accepted", "kind", "detail", "passes"),
    [
        (None, Kind.GPU_FAULT, "one", False),
        ("gpu-fault: one", Kind.GPU_FAULT, "one", True),
        ("gpu-fault: one; two", Kind.GPU_FAULT, "two", True),  # as a vessel's start finds it
        ("gpu-fault: one", Kind.GPU_FAULT, "one; two", False),
        ("gpu-fault: 2 memory errors", Kind.GPU_FAULT, "3 memory errors", False),
        ("gpu-fault: one", Kind.LEFTOVER, "one", False),
        ("leftover: Xorg (pid 12) is there", Kind.LEFTOVER, "Xorg (pid 3) is there", True),
        ("leftover: 1100 MiB are in use", Kind.LEFTOVER, "1200 MiB are in use", True),
        ("leftover: Xorg (pid 12) is there", Kind.LEFTOVER, "python (pid 12) is there", False),
    ],
)  # fmt: skip
def test_what_an_operator_let_pass_is_the_same_again_and_nothing_more(
    accepted: str | None, kind: Kind, detail: str, passes: bool
) -> None:
    assert lets_pass(accepted, Finding(kind, detail, "GPU-0")) == passes
