"""Prometheus' HTTP API: what is so now, and what was over a stretch of time.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from drc.errors import MetricsUnreachable

PATIENCE = 60.0  # seconds for an answer
MOST_POINTS = 10_000  # of one series in one answer; Prometheus gives 11,000

Labels = Mapping[str, str]
Sample = tuple[Labels, float]
Series = tuple[Labels, dict[int, float]]
"""Its values by the second."""

UTILISATION = "DCGM_FI_DEV_GPU_UTIL"
OF_SLICES = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
"""From 0 to 1; the other is not there for slices (DCGM)."""

log = logging.getLogger("drc.prometheus")


class Prometheus:
    """One Prometheus. Its methods raise MetricsUnreachable.

    What is no finite number is left out: it says that nobody knows.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self.http = httpx.Client(base_url=url, timeout=patience, trust_env=False)
        self.patience = patience
        self.queries = 0

    def now(self) -> float:
        """By its own clock, which may not be ours."""
        for _, at in self.query("vector(time())"):
            return at
        raise MetricsUnreachable("Prometheus does not know what time it is.")

    def query(self, query: str, at: float | None = None) -> list[Sample]:
        """What an expression is at that time, or now, for each of its series."""
        found = self._call("query", query=query, **({} if at is None else {"time": f"{at:.3f}"}))
        return [(labels, number) for labels, values in found for number in values.values()]

    def query_range(self, query: str, first: int, last: int, step: int) -> Iterator[Series]:
        """What it was at `first`, and every step from there to `last`, in seconds; in parts, where
        there are more points than Prometheus gives at once: a series may come several times.
        """
        for start in range(first, last + 1, MOST_POINTS * step):
            end = min(last, start + (MOST_POINTS - 1) * step)
            times = {"start": str(start), "end": str(end), "step": str(step)}
            yield from self._call("query_range", query=query, **times)

    def _call(self, what: str, **form: str) -> list[Series]:
        self.queries += 1
        form["timeout"] = f"{self.patience:g}s"  # it is not to go on after we have gone
        try:
            # in the body: a query that names a thousand GPUs is no address
            answer = self.http.post(f"/api/v1/{what}", data=form)
        except httpx.HTTPError as failed:
            raise MetricsUnreachable(f"Prometheus does not answer: {failed}") from failed
        try:
            said = json.loads(answer.content)
            if said["status"] != "success":
                raise MetricsUnreachable(f"Prometheus refused: {str(said.get('error'))[:200]}")
            told = [(one["metric"], _numbers(one)) for one in said["data"]["result"]]
            for warning in said.get("warnings", []):
                log.warning("Prometheus warns: %s", str(warning)[:200])
        except (ValueError, KeyError, TypeError) as failed:
            raise MetricsUnreachable(
                f"{self.http.base_url.host} answered {answer.status_code}, not as Prometheus does."
            ) from failed
        return told

    def close(self) -> None:
        self.http.close()


def quoted(text: str) -> str:
    """As a string of PromQL."""
    return json.dumps(text, ensure_ascii=False)


def gpu_of(labels: Labels) -> str:
    """Which GPU a series of dcgm-exporter's is about, as `measured` in the books calls it: by its
    UUID, or a slice by that of its card and its GPU instance there, as `GPU-…/3`.
    """
    return "/".join(filter(None, (labels.get("UUID", ""), labels.get("GPU_I_ID", ""))))


def _numbers(one: dict[str, Any]) -> dict[int, float]:
    """Of a series in an answer; a histogram has none."""
    values: list[tuple[float, str]] = one.get("values", [one["value"]] if "value" in one else [])
    return {int(at): float(value) for at, value in values if math.isfinite(float(value))}
