"""A real Prometheus whose past is written, as dcgm-exporter would have told it."""

import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from drc.up import exporter
from tests.wait import wait_until

MINUTE = timedelta(minutes=1)
Story = Callable[[datetime], float | None]
"""What a GPU did at an instant, in per cent; None: nobody was told."""


def write(
    path: Path,
    stories: Mapping[str, Story],
    begin: datetime,
    end: datetime,
    more: Mapping[str, Story],
) -> None:
    """OpenMetrics text of DCGM_FI_DEV_GPU_UTIL, a sample a minute; `more`: of other series, by name
    and labels, those of a name one after the other.
    """
    with path.open("w") as out:
        out.write("# TYPE DCGM_FI_DEV_GPU_UTIL gauge\n")
        series: dict[str, Story] = {}
        for index, (uuid, story) in enumerate(stories.items()):
            labels = (
                f'gpu="{index % 8}",UUID="{uuid}",pci_bus_id="00000000:83:00.0",'
                f'device="nvidia{index % 8}",modelName="NVIDIA A100",Hostname="gpu1"'
            )
            series[f"DCGM_FI_DEV_GPU_UTIL{{{labels}}}"] = story
        for name, story in (series | dict(more)).items():
            at = begin
            while at <= end:
                value = story(at)
                if value is not None:
                    out.write(f"{name} {value:g} {at.timestamp():.0f}\n")
                at += MINUTE
        out.write("# EOF\n")


@contextmanager
def scraping(configuration: str) -> Iterator[str]:
    """One without a past, which scrapes as it is told. Its address."""
    with tempfile.TemporaryDirectory(prefix="drc-prometheus-") as place, serving(
        Path(place), configuration
    ) as url:  # fmt: skip
        yield url


@contextmanager
def exporting(told: Callable[[], str]) -> Iterator[int]:
    """An exporter on loopback that says this at each scrape. Its port."""
    server = exporter.server(0, told)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def prometheus(
    stories: Mapping[str, Story],
    begin: datetime,
    end: datetime,
    more: Mapping[str, Story] | None = None,
) -> Iterator[str]:
    """One whose past is written. Its address."""
    with tempfile.TemporaryDirectory(prefix="drc-prometheus-") as place:
        folder = Path(place)
        write(folder / "history", stories, begin, end, more or {})
        subprocess.run(
            [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", folder / "history",
             folder / "data"],
            check=True, capture_output=True,
        )  # fmt: skip
        with serving(folder, "scrape_configs: []\n") as url:
            yield url


def tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.fail("These tests run a Prometheus: apt-get install prometheus")
    return found


@contextmanager
def serving(folder: Path, configuration: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "prometheus.yml").write_text(configuration)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [tool("prometheus"), f"--config.file={folder}/prometheus.yml",
             f"--storage.tsdb.path={folder}/data", "--storage.tsdb.retention.time=100y",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_ready(url), "Prometheus is ready")
        yield url
    finally:
        server.terminate()
        server.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def utc(day: int, hour: int, minute: int = 0) -> datetime:
    """Of November 2026, whose 16th is a Monday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)
