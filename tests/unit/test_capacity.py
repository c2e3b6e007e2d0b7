"""Why no host could ever hold a wish: every sentence, and when there is none to say."""

from datetime import timedelta
from typing import Any

import pytest

from drc.api.capacity import why_never
from drc.fleet import Wish


def row(
    host: str, model: str | None, card_mib: int | None, gpus: int, **more: int
) -> dict[str, Any]:
    share = {"millicpus": 60_000, "memory_mib": 480_000, "n_gpus": gpus, **more}
    return {"host": host, "model": model, "gpu_memory_mib": card_mib, "gpus": gpus, **share}


FLEET = [
    row("gpu1", "a100", 81920, 8),
    row("gpu2", "a100", 40960, 4),
    row("gpu3", "rtx3090", 24576, 2, millicpus=15_000, memory_mib=60_000),
    row("cpu1", None, None, 0, millicpus=1_900, memory_mib=7_000),
]


def asking(**changes: Any) -> Wish:
    plain: dict[str, Any] = dict.fromkeys(Wish.__dataclass_fields__)
    return Wish(**{**plain, "gpus": 1, "gpu_memory_mib": 0, "lifetime": timedelta(1), **changes})


def said(fleet: list[dict[str, Any]], wish: Wish) -> tuple[str, str] | None:
    refusal = why_never(fleet, wish)
    return (refusal.message, refusal.hint) if refusal else None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gpus": 8},
        {"gpus": 8, "models": ["a100"], "gpu_memory_mib": 76_293},
        {"models": ["h100", "a100"]},
        {"gpus": 2, "models": ["rtx3090"], "millicpus": 15_000, "memory_mib": 60_000},
        {"gpus": 0},
        {"gpus": 0, "host": "gpu3"},
        {"gpus": 0, "host": "cpu1", "millicpus": 1_000},
        {"host": "gpu2", "gpus": 4},
    ],
)
def test_what_an_empty_fleet_could_hold_is_not_refused(changes: dict[str, Any]) -> None:
    assert said(FLEET, asking(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "sentence", "hint"),
    [
        ({"host": "gpu9"}, "There is no host called gpu9.", "drc gpus"),
        ({"host": "cpu1"}, "No host has a GPU.", "--gpus 0 asks for a vessel without one."),
        ({"models": ["h100"]}, "No host has any h100.", "There are: a100, rtx3090"),
        (
            {"models": ["h100", "h200"]},
            "No host has any h100 or h200.",
            "There are: a100, rtx3090",
        ),
        ({"models": ["a100"], "host": "gpu3"}, "No host has any a100.", "There are: rtx3090"),
        (
            {"gpu_memory_mib": 90_000},
            "No GPU has 94 GB of memory.",
            "The largest, a100, has 80 GB.",
        ),
        (
            {"models": ["rtx3090"], "gpu_memory_mib": 40_000},
            "No rtx3090 has 42 GB of memory.",
            "The largest, rtx3090, has 24 GB.",
        ),
        (
            {"gpus": 9},
            "No host has 9 × GPU.",
            "The most in one host are 8 × a100, 80 GB each.",
        ),
        (
            {"gpus": 3, "models": ["rtx3090"]},
            "No host has 3 × rtx3090.",
            "The most in one host are 2 × rtx3090, 24 GB each.",
        ),
        (
            {"gpus": 5, "host": "gpu2"},
            "No host has 5 × GPU.",
            "The most in one host are 4 × a100, 40 GB each.",
        ),
        (
            {"models": ["rtx3090"], "millicpus": 16_000},
            "No host that would do has 16 CPUs.",
            "The most are 15.",
        ),
        (
            {"models": ["rtx3090"], "memory_mib": 65_536},
            "No host that would do has 64 GiB of memory.",
            "The most is 58.6 GiB.",
        ),
        (
            {"gpus": 0, "host": "cpu1", "millicpus": 2_500},
            "No host that would do has 2.5 CPUs.",
            "The most are 1.9.",
        ),
        # the default of a vessel without GPU is 2 CPUs; it must not wait for ever for them
        (
            {"gpus": 0, "host": "cpu1"},
            "No host that would do has 2 CPUs.",
            "The most are 1.9.",
        ),
    ],
)
def test_what_no_host_could_ever_hold_is_refused(
    changes: dict[str, Any], sentence: str, hint: str
) -> None:
    assert said(FLEET, asking(**changes)) == (sentence, hint)


def test_without_any_host_it_says_how_to_get_one() -> None:
    assert said([], asking()) == (
        "No host is ready yet.",
        "drc up  adds this machine as the first.",
    )


def test_no_combination_of_two_hosts_counts_as_one() -> None:
    """gpu1 has the GPUs and gpu4 the CPUs; neither has both."""
    fleet = [
        row("gpu1", "a100", 81920, 8, millicpus=8_000),
        row("gpu4", "rtx3090", 24576, 1, millicpus=99_000),
    ]
    assert said(fleet, asking(gpus=8, millicpus=16_000)) == (
        "No host that would do has 16 CPUs.",
        "The most are 8.",
    )
