"""The fleet at a glance: what a line says, and that it fits."""

from typing import Any

import pytest

from drc.cli.top import By, bar, cut, grouped, lines_of, natural


def gpu(index: int = 0, **more: Any) -> dict[str, Any]:
    plain = {
        "index": index, "uuid": f"GPU-{index}", "name": "A100", "model": "a100",
        "memory_mib": 81_920, "simulated": False, "ill": None, "vessel": None, "owner": None,
        "state": None, "utilisation": None, "memory_used_mib": None, "power_w": None,
        "temperature_c": None,
    }  # fmt: skip
    return {**plain, **more}


def held(owner: str = "ada", load: float | None = 90.0, **more: Any) -> dict[str, Any]:
    return gpu(vessel="bert", owner=owner, state="running", utilisation=load, **more)


def host(name: str, *gpus: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"host": name, "open": True, "queues": ["default"], "gpus": list(gpus), **more}


def fleet(*hosts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"measured": True, "why": None, "hosts": list(hosts), **more}


def shown(
    use: dict[str, Any], by: By = By.HOST, width: int = 80, most: int | None = None, **waiting: int
) -> list[str]:
    return lines_of(use, grouped(use, by, waiting), by, width, most)


def test_a_line_says_what_is_held_how_busy_it_is_and_by_whom() -> None:
    use = fleet(
        host("gpu1", held(load=93, memory_used_mib=40_960), held("bob", 0), gpu(), gpu(ill="x")),
        host("gpu2", gpu(), held("bob", None), open=False),
    )
    assert shown(use) == [
        "3 of 6 GPUs are held · 1 free · 1 ill · 1 closed · 46 % busy",
        "",
        "HOST  GPUS  HELD  BUSY     MEMORY  WHO",
        "gpu1  █▁□✗   2/4  46 %  40/80 GiB  ada 1, bob 1",
        "gpu2  –■     1/2     -          -  bob 1",
        "",
        "▁…█ held, and how busy   ■ held   ? unreachable   □ free   ✗ ill   – closed",
    ]


def test_what_an_unreachable_vessel_holds_is_marked_whatever_was_measured_last() -> None:
    use = fleet(host("gpu1", held(load=93), {**held(load=93), "state": "unreachable"}, gpu()))
    assert shown(use)[3] == "gpu1  █?□    2/3  93 %       -  ada 2"


def test_by_owner_says_where_their_vessels_are() -> None:
    use = fleet(host("gpu1", held("ada"), held("bob")), host("gpu2", held("bob"), gpu()))
    rows = shown(use, By.OWNER)[3:5]
    assert rows == [
        "bob    ██     2/2  90 %       -  bert on gpu1 1, bert on gpu2 1",
        "ada    █      1/1  90 %       -  bert on gpu1 1",
    ]


def test_by_queue_says_who_waits_and_counts_a_host_in_each_of_its_queues() -> None:
    use = fleet(host("gpu1", held(), queues=["big", "default"]), host("gpu2", gpu()))
    rows = [row.split() for row in shown(use, By.QUEUE, default=3, empty=0)[3:6]]
    assert [row[0] for row in rows] == ["big", "default", "empty"]
    assert rows[1][-4:] == ["3", "wait,", "ada", "1"]
    assert rows[2][-3:] == ["0/0", "-", "-"]


def test_the_most_held_come_first_and_gpu2_before_gpu10() -> None:
    use = fleet(*(host(name, gpu()) for name in ("gpu10", "gpu2", "b", "gpu1")), host("z", held()))
    assert [group.name for group in grouped(use, By.HOST, {})] == [
        "z",
        "b",
        "gpu1",
        "gpu2",
        "gpu10",
    ]
    assert natural("rack2-gpu10") > natural("rack2-gpu9")


def test_a_hundred_hosts_fit_and_the_rest_is_summed_up() -> None:
    use = fleet(*(host(f"gpu{n}", held(), gpu()) for n in range(100)))
    said = shown(use, most=30)
    assert len(said) == 3 + 30 + 1 + 2
    assert said[33] == "and 70 more: 70 of 140 GPUs are held · 70 free · 90 % busy"
    assert len(shown(use)) == 3 + 100 + 2


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("by", By)
def test_no_line_is_wider_than_the_terminal(width: int, by: By) -> None:
    owners = [f"somebody-with-a-long-name-{n}" for n in range(20)]
    gpus = [held(owner, memory_used_mib=1) for owner in owners] * 3
    use = fleet(
        host("a-host-with-quite-a-long-name.example.org", *gpus), why="x" * 300, measured=False
    )
    assert all(len(line) <= width for line in shown(use, by, width)[1:])


def test_more_gpus_than_there_is_room_for_keep_their_proportions() -> None:
    gpus = [*(gpu() for _ in range(40)), *(held() for _ in range(40))]
    assert bar([{**one, "open": True} for one in gpus], 16) == "████████□□□□□□□□"


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"measured": False}, "Nothing is measured here."),
        ({"measured": False, "why": "It does not answer: \x1b[2J"}, "not answer: \ufffd"),
    ],
)  # fmt: skip
def test_what_is_not_measured_is_said(more: dict[str, Any], note: str) -> None:
    said = shown(fleet(host("gpu1", held(load=None)), **more))
    assert said[3].split() == ["gpu1", "■", "1/1", "-", "-", "ada", "1"]
    assert note in said[-1]


def test_a_fleet_without_gpus_is_a_sentence() -> None:
    assert shown(fleet()) == ["There are no GPUs."]


def test_what_is_too_long_ends_in_dots() -> None:
    assert (cut("otter", 5), cut("otters", 5), cut("otter", 0)) == ("otter", "otte…", "…")
