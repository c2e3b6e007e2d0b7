"""Numbers as a line of bars, for a terminal and a message alike."""

from collections.abc import Iterable

BARS = "▁▂▃▄▅▆▇█"


def spark(percents: Iterable[float | None]) -> str:
    """A bar for each per cent; a dot where nobody knows."""
    return "".join(
        "·" if one is None else BARS[min(int(one / 100 * len(BARS)), len(BARS) - 1)]
        for one in percents
    )
