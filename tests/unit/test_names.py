"""Names: those that are invented, and those that were meant."""

import pytest

from drc.api.names import invent_name, nearest
from drc.machine import check_name


def test_an_invented_name_is_one_that_a_vessel_can_have() -> None:
    for _ in range(100):
        name = invent_name()
        assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("brt", ["otter", "bert"], "bert"),
        ("bert2", ["bert-2", "bert"], "bert-2"),
        ("calm-ottr", ["calm-otter"], "calm-otter"),
        ("x", ["bert"], None),
        ("zebra", ["bert"], None),
        ("", ["bert"], None),
        ("bert", [], None),
    ],
)
def test_the_name_that_was_meant_is_the_nearest_if_any_is_near(
    name: str, known: list[str], meant: str | None
) -> None:
    assert nearest(name, known) == meant
