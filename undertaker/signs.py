"""What measurements let one suspect of GPUs: that one has fallen silent, or counts its own faults.

Suspicion, not truth: the API has a conductor look at the host, and what that finds is true. So a
missed scrape costs a look, and nobody is told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from drc.prometheus import Prometheus
from drc.trouble import FATAL

PRESENT = '{__name__=~"DCGM_FI_DEV_(GPU_TEMP|GPU_UTIL|FB_USED)"}'
"""What every exporter tells some of, whatever its counter file says."""
WINDOW = "5m"
"""In which at least one scrape succeeds: of ten, or five, each of which may fail."""
BEFORE = ("5m", "1h", "6h")
"""How long ago one may have been heard last, to be missed now: looks may have been away."""
COUNTED = {
    "xid": "DCGM_FI_DEV_XID_ERRORS",
    "ecc": "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
    "remap": "DCGM_FI_DEV_ROW_REMAP_FAILURE",
}
"""What a card counts itself, by sign (dcgm-exporter; XID: the last one, which stays)."""

LARGEST = 2**31 - 1
"""Of a count; more is nonsense, which need not fit into the books."""

Signs = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Measured:
    """What Prometheus has, by card's UUID; cards that are not ours among them."""

    now: frozenset[str]
    before: frozenset[str]
    counted: Mapping[str, Signs]
    """By sign, then by card; nothing where it is 0."""


def measure(prometheus: Prometheus) -> Measured:
    """Raises MetricsUnreachable. All as of one time: else a card that falls silent meanwhile would
    be heard, without what it counted.
    """
    at = prometheus.now()
    now = cards(prometheus, at, f"count by (UUID) (last_over_time({PRESENT}[{WINDOW}]))")
    before = frozenset[str]()
    for ago in BEFORE:
        query = f"count by (UUID) (last_over_time({PRESENT}[{WINDOW}] offset {ago}))"
        before |= frozenset(cards(prometheus, at, query))
    counted = {
        # duplicates: two Prometheis that scrape the same, a job mapping of several jobs
        sign: cards(prometheus, at, f"max by (UUID) (last_over_time({name}[{WINDOW}])) > 0")
        for sign, name in COUNTED.items()
    }
    return Measured(frozenset(now), before, counted)


def cards(prometheus: Prometheus, at: float, query: str) -> dict[str, int]:
    return {
        labels["UUID"]: min(int(value), LARGEST)
        for labels, value in prometheus.query(query, at)
        if "UUID" in labels
    }


def doubts(books: Iterable[Mapping[str, Any]], measured: Measured) -> list[dict[str, Any]]:
    """All that is to be suspected now.

    `books`: rows of list_watched: a card's uuid, and the signs that were seen so far. One that was
    never heard is not missed; one that is missed keeps the signs it had.
    """
    found: list[dict[str, Any]] = []
    for card in books:
        uuid, known = card["uuid"], card["signs"]
        if uuid in measured.now:
            signs = {sign: of[uuid] for sign, of in measured.counted.items() if uuid in of}
            if known.get("xid") in FATAL and signs.get("xid", 0) not in (0, *FATAL):
                signs["xid"] = known["xid"]  # what comes behind it makes nothing well
        elif uuid in measured.before or "missing" in known:
            signs = {**known, "missing": 1}
        else:
            signs = known
        found += [{"uuid": uuid, "sign": sign, "value": value} for sign, value in signs.items()]
    return found
