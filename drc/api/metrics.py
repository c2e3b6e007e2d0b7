"""The API's own numbers, in Prometheus' format."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drc import fleet
from drc.db import Database

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE"})
REGISTRY = CollectorRegistry()
SECONDS = Histogram(
    "drc_api_request_seconds",
    "Time from a request's arrival to the start of its answer.",
    ["method", "route", "status"],
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)


class Fleet(Collector):
    """Counts read from the database at each scrape."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
            "vessel": GaugeMetricFamily("drc_vessels", "Living vessels.", labels=["state"]),
            "work": GaugeMetricFamily("drc_outbox", "Work in the outbox.", labels=["verb"]),
            "host": GaugeMetricFamily("drc_hosts", "Hosts.", labels=["state"]),
            "gpu": GaugeMetricFamily("drc_gpus", "GPUs.", labels=["state"]),
            "stranger": GaugeMetricFamily(
                "drc_strangers", "Processes on GPUs that run in no vessel.", labels=["host"]
            ),
            "mended": CounterMetricFamily(
                "drc_mended", "What rounds over the hosts found and mended.", labels=["what"]
            ),
        }
        for row in fleet.count_states(self.db):
            families[row["what"]].add_metric([row["label"]], row["n"])
        yield from families.values()


def render(db: Database) -> bytes:
    registry = CollectorRegistry()
    registry.register(Fleet(db))
    return generate_latest(REGISTRY) + generate_latest(registry)


class Timing:
    """ASGI middleware: one observation per request, labelled with the route, never the path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def observing(message: Message) -> None:
            if message["type"] == "http.response.start":
                # whoever comes may name any method, and each would stay in memory
                method = scope["method"] if scope["method"] in METHODS else "other"
                route = getattr(scope.get("route"), "path", "none")
                SECONDS.labels(method, route, message["status"]).observe(
                    time.perf_counter() - begun
                )
            await send(message)

        await self.app(scope, receive, observing)
