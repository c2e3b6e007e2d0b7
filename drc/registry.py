"""What every program of ours tells Prometheus of itself."""

from prometheus_client import CollectorRegistry, Info, ProcessCollector, disable_created_metrics

from drc import __version__


def registry() -> CollectorRegistry:
    """A new one, which has the process and the version that runs."""
    disable_created_metrics()  # a series beside each counter, of no use to Prometheus
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    Info("drc_build", "The version that runs.", registry=found).info({"version": __version__})
    return found
