"""What measurements let one suspect, from what they say and what was suspected before."""

import pytest

from undertaker.signs import Measured, doubts


@pytest.mark.parametrize(
    ("known", "told", "expected"),
    [
        (0, 31, 31), (31, 43, 43), (31, 79, 79), (48, 63, 63),
        (48, 45, 48),  # a fatal one is followed by those of the programs that it ended
        (79, 154, 79),
        (79, 0, 0),  # its machine was started again
    ],
)  # fmt: skip
def test_an_xid_counts_until_another_does_and_a_fatal_one_until_none_does(
    known: int, told: int, expected: int
) -> None:
    card = frozenset({"GPU-0"})
    measured = Measured(card, card, {"xid": {"GPU-0": told} if told else {}})
    found = doubts([{"uuid": "GPU-0", "signs": {"xid": known} if known else {}}], measured)
    assert {one["sign"]: one["value"] for one in found}.get("xid", 0) == expected
