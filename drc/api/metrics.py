"""The API's own numbers, in Prometheus' format.

What the database knows is read at each scrape and is the same from every API process; what is
counted here is of this process alone. docs/monitoring.md lists all of it.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from drc import fleet
from drc.db import Database, Row
from drc.errors import family
from drc.registry import registry

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE"})
HOUR = 3600

REGISTRY = registry()
SECONDS = Histogram(
    "drc_api_request_seconds",
    "Time from a request's arrival to the start of its answer.",
    ["method", "route", "status"],
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
ERRORS = Counter(
    "drc_api_errors", "Requests answered with a problem, by its code.", ["code"], registry=REGISTRY
)
RESERVATIONS = Counter(
    "drc_reservations",
    "What came of asking for GPUs: reserved, queued, placed (it had waited), shared; and contended,"
    " each time that it had to be asked again.",
    ["outcome"],
    registry=REGISTRY,
)
for code in ("bug", *family()):  # else the first of a kind would be no increase
    ERRORS.labels(code)
for outcome in ("reserved", "queued", "placed", "shared", "contended"):
    RESERVATIONS.labels(outcome)
STARTS = Histogram(
    "drc_start_seconds",
    "Time for each phase of a start, and for the whole, of vessels that came to run.",
    ["phase"],
    registry=REGISTRY,
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
WAITS = Histogram(
    "drc_queue_wait_seconds",
    "Time from the request to the GPUs, of vessels that came to run, in each queue they named.",
    ["queue"],
    registry=REGISTRY,
    buckets=(1, 10, 60, 300, 900, HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR, 72 * HOUR),
)
COUNTED = {
    "vessel": ("drc_vessels", "Living vessels.", "state"),
    "vessel_since": (
        "drc_vessels_oldest_seconds",
        "For how long one has been in its state.",
        "state",
    ),
    "work": ("drc_outbox", "Work in the outbox.", "verb"),
    "work_due": ("drc_outbox_oldest_seconds", "For how long work is due untaken.", "verb"),
    "host": ("drc_hosts", "Hosts.", "state"),
    "host_seen": ("drc_host_seen_timestamp_seconds", "When a host last answered.", "host"),
    "gpu_ill": ("drc_ill_gpus", "GPUs that are ill, whether held or not.", "host"),
    "stranger": ("drc_strangers", "Processes on GPUs that run in no vessel.", "host"),
    "waiting": ("drc_queue_waiting", "Vessels that wait.", "queue"),
    "oldest": ("drc_queue_oldest_wait_seconds", "Wait of who waits longest.", "queue"),
    "verdict": ("drc_verdicts", "Living vessels by the undertaker's last verdict.", "verdict"),
    "untold": ("drc_messages_waiting", "Messages to owners not delivered yet.", "kind"),
}
"""What count_states counts: the metric, its help, its label."""


class Fleet(Collector):
    """Read from the database at each scrape."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def collect(self) -> Iterator[Metric]:
        yield from states(fleet.count_states(self.db))
        gpus = GaugeMetricFamily("drc_gpus", "GPUs.", labels=["host", "model", "state"])
        for row in fleet.count_gpus(self.db):
            gpus.add_metric([row["host"], row["model"], row["state"]], row["n"])
        yield gpus
        yield held(fleet.list_held(self.db))


def states(rows: Iterable[Row]) -> Iterator[Metric]:
    gauges = {
        what: GaugeMetricFamily(name, text, labels=[label])
        for what, (name, text, label) in COUNTED.items()
    }
    mended = CounterMetricFamily(
        "drc_mended", "What rounds over the hosts found and mended.", labels=["what"]
    )
    judged = GaugeMetricFamily(
        "drc_undertaker_judged_timestamp_seconds", "When a living vessel was last judged."
    )
    for row in rows:
        if row["what"] == "judged":
            judged.add_metric([], row["n"])
        elif row["what"] == "mended":
            mended.add_metric([row["label"]], row["n"])
        else:
            gauges[row["what"]].add_metric([row["label"]], row["n"])
    yield from (*gauges.values(), mended, judged)


LABELS = ("model", "vessel", "owner", "queue", "host")


def held(rows: Iterable[Row]) -> Metric:
    """UUID and GPU_I_ID are spelled as dcgm-exporter does; of a whole GPU the latter is empty,
    which to Prometheus is the same as not there.
    """
    family = GaugeMetricFamily(
        "drc_gpu_held", "1 for each held GPU.", labels=["UUID", "GPU_I_ID", *LABELS]
    )
    for row in rows:
        instance = "" if row["instance"] is None else str(row["instance"])
        family.add_metric([row["uuid"], instance, *(row[label] for label in LABELS)], 1)
    return family


def render(db: Database) -> bytes:
    told = CollectorRegistry()
    told.register(Fleet(db))
    return generate_latest(REGISTRY) + generate_latest(told)


def observe(scope: Scope, status: int, seconds: float) -> None:
    """A request whose answer has begun, by its route, never its path."""
    # whoever comes may name any method, and each would stay in memory
    method = scope["method"] if scope["method"] in METHODS else "other"
    SECONDS.labels(method, getattr(scope.get("route"), "path", "none"), status).observe(seconds)
