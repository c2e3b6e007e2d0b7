"""What a vessel uses of its host, as the engine tells it: CPU time, memory, network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker.errors


@dataclass(frozen=True, slots=True)
class Use:
    cpu_seconds: float
    memory_bytes: int
    received_bytes: int
    sent_bytes: int


def of_stats(told: Mapping[str, Any], network: Mapping[str, Any]) -> Use | None:
    """From an engine's stats of a vessel and of its network container; None: it does not run."""
    memory: dict[str, Any] = told["memory_stats"]
    if "usage" not in memory:
        return None
    detail: dict[str, int] = memory.get("stats") or {}
    # as `docker stats` does it: page cache that can be dropped at once is nobody's
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    interfaces: dict[str, dict[str, int]] = network.get("networks") or {}
    return Use(
        cpu_seconds=told["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        memory_bytes=max(int(memory["usage"]) - cache, 0),
        received_bytes=sum(one["rx_bytes"] for one in interfaces.values()),
        sent_bytes=sum(one["tx_bytes"] for one in interfaces.values()),
    )


def read(engine: Any, vessel: str, network: str) -> Use | None:
    """Of a vessel by its container, whose network is another's. None where it does not run.

    `engine`: a docker.APIClient, and its errors.
    """
    try:
        told = engine.stats(vessel, stream=False, one_shot=True)
        if not told.get("networks"):  # most engines tell it of whoever joined, too
            return of_stats(told, engine.stats(network, stream=False, one_shot=True))
    except docker.errors.NotFound:
        return None
    return of_stats(told, told)
