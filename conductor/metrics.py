"""The conductor's own numbers, in Prometheus' format, where DRC_METRICS_LISTEN is set.

docs/monitoring.md lists them.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from drc import trace
from drc.errors import Misconfigured
from drc.registry import registry

if TYPE_CHECKING:
    from conductor.host import Host

REGISTRY = registry()
STEP_SECONDS = Histogram(
    "drc_conductor_step_seconds",
    "Time that the steps of starts and stops took; of those that were taken.",
    ["verb", "step"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
WORK = Counter(
    "drc_conductor_work",
    "Work by what came of it: done, again (it failed and is tried again later), failed, stale.",
    ["verb", "outcome"],
    registry=REGISTRY,
)


@dataclass(slots=True)
class Stopwatch:
    """Times one step after the other. One that is broken off is told of in its trace only."""

    verb: str
    step: str = ""
    begun: float = field(default_factory=time.monotonic)
    span: ExitStack = field(default_factory=ExitStack)
    """Around the step."""

    def turn(self, step: str) -> None:
        """The step before was taken, and this one begins."""
        now = time.monotonic()
        if self.step:
            STEP_SECONDS.labels(self.verb, self.step).observe(now - self.begun)
        self.step, self.begun = step, now
        self.span.close()
        if step:
            self.span.enter_context(trace.span(step))


class Hosts(Collector):
    """What is known of the hosts at each scrape. Of one that is silent nothing is told."""

    def __init__(self, hosts: dict[int, "Host"]) -> None:
        self.hosts = hosts

    def collect(self) -> Iterator[Metric]:
        hosts = list(self.hosts.values())
        there = [host for host in hosts if host.silent_since is None]
        states = GaugeMetricFamily("drc_conductor_hosts", "Hosts.", labels=["state"])
        states.add_metric(["connected"], len(there))
        states.add_metric(["silent"], len(hosts) - len(there))
        yield states
        disks = GaugeMetricFamily(
            "drc_host_disk_free_bytes", "What Docker may still write.", labels=["host"]
        )
        for host in there:
            if host.disk_free_mib is not None:
                disks.add_metric([host.name], host.disk_free_mib * 2**20)
        yield disks
        yield from vessels(there)


def vessels(hosts: Iterable["Host"]) -> Iterator[Metric]:
    labels = ["vessel", "owner", "host"]
    cpu = CounterMetricFamily("drc_vessel_cpu_seconds", "CPU time.", labels=labels)
    memory = GaugeMetricFamily("drc_vessel_memory_bytes", "Without page cache.", labels=labels)
    received = CounterMetricFamily(
        "drc_vessel_network_receive_bytes", "Into its network.", labels=labels
    )
    sent = CounterMetricFamily(
        "drc_vessel_network_transmit_bytes", "Out of its network.", labels=labels
    )
    for host in hosts:
        for (owner, name), used in list(host.use.items()):
            who = [name, owner, host.name]
            cpu.add_metric(who, used.cpu_seconds)
            memory.add_metric(who, used.memory_bytes)
            received.add_metric(who, used.received_bytes)
            sent.add_metric(who, used.sent_bytes)
    yield from (cpu, memory, received, sent)


def serve(hosts: dict[int, "Host"], address: str, port: int) -> WSGIServer:
    """In the background. Raises Misconfigured."""
    told = CollectorRegistry()
    told.register(REGISTRY)
    told.register(Hosts(hosts))
    try:
        return start_http_server(port, address, told)[0]
    except OSError as failed:
        raise Misconfigured(
            f"Metrics cannot be served at {address}, port {port}: {failed.strerror}.",
            hint="DRC_METRICS_LISTEN names another place.",
        ) from None
