"""Live: a real Prometheus scrapes an exporter that speaks as DCGM's does, while vessels live.

An hour of work time is a second here.
"""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from drc import fleet
from drc.db import Database
from drc.up import exporter
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wait import wait_until
from tests.wire.history import exporting, scraping
from tests.wire.served import Api
from tests.wire.standin import StandIn
from undertaker.policy import File, Policies
from undertaker.round import run_once
from undertaker.usage import Prometheus

HOUR = 1 / 3600
SLICE = """
# HELP DCGM_FI_PROF_GR_ENGINE_ACTIVE Ratio of time the graphics engine is active.
# TYPE DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{gpu="1",UUID="GPU-cut",pci_bus_id="00000000:84:00.0",\
device="nvidia1",modelName="NVIDIA H200",GPU_I_PROFILE="1g.18gb",GPU_I_ID="9",\
{host}="gpu-01",DCGM_FI_DRIVER_VERSION="590.48.01"}} {first}
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{gpu="1",UUID="GPU-cut",pci_bus_id="00000000:84:00.0",\
device="nvidia1",modelName="NVIDIA H200",GPU_I_PROFILE="1g.18gb",GPU_I_ID="10",\
{host}="gpu-01",DCGM_FI_DRIVER_VERSION="590.48.01"}} {second}
"""
CONFIGURATION = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: dcgm-exporter
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Exporter:
    said = ""


@pytest.fixture(scope="module")
def scraped() -> Iterator[tuple[Exporter, str]]:
    """An exporter, and the Prometheus that scrapes it."""
    dcgm = Exporter()
    with (
        exporting(lambda: dcgm.said) as port,
        scraping(CONFIGURATION.format(port=port)) as url,
    ):
        yield dcgm, url


@pytest.fixture
def eyes(postgres: Postgres, database: str) -> Iterator[Database]:
    eyes = Database(postgres.url("drc_undertaker", database), size=2)
    yield eyes
    eyes.close()


class Live:
    def __init__(self, api: Api, eyes: Database, url: str, **rule: Any) -> None:
        self.api, self.eyes = api, eyes
        rule = {
            "hours": "24x7",
            "warn_after": 3 * HOUR,
            "bury_after": 600 * HOUR,
            "gap_minutes": 3 * 60 * HOUR,
            **rule,
        }
        self.policies = Policies(File(step_seconds=1, default=rule))
        self.prometheus = Prometheus(url)

    def why(self, name: str = "bert") -> dict[str, Any]:
        with self.api.client("undertaker", "undertaker") as client:
            run_once(
                self.eyes, client, fleet.read_now(self.eyes), self.policies, self.prometheus
            )  # fmt: skip
        return self.api.raw("GET", f"/v1/vessels/{name}/why").json()


@pytest.fixture
def live(
    api: Api, standin: StandIn, eyes: Database, scraped: tuple[Exporter, str]
) -> Iterator[Live]:
    api.create("bert", gpus=2)
    standin.run_once()
    live = Live(api, eyes, scraped[1])
    yield live
    live.prometheus.close()


def gpus(db: Database) -> list[dict[str, Any]]:
    return run_sql(
        db,
        "SELECT uuid, idx AS index, 'NVIDIA A100' AS name, memory_mib, 'gpu1' AS host"
        " FROM gpu WHERE vessel_id IS NOT NULL ORDER BY idx",
    )


def test_busy_then_idle_then_warned_then_busy_again(
    live: Live, db: Database, scraped: tuple[Exporter, str]
) -> None:
    dcgm, (first, second) = scraped[0], gpus(db)
    dcgm.said = exporter.render([first, second], {second["uuid"]: 97})
    wait_until(lambda: "it was busy until" in live.why()["reason"], "one busy GPU is seen", 30)
    dcgm.said = exporter.render([first, second], {})
    wait_until(lambda: live.why()["rung"] == "warned", "it is warned", 30)
    warned = live.why()
    assert warned["evidence"]["averages"] == [0, 0]
    dcgm.said = exporter.render([first, second], {first["uuid"]: 1})
    wait_until(lambda: live.why()["rung"] == "active", "it is used again", 30)


def test_an_exporter_that_is_away_stops_the_clock(
    live: Live, db: Database, scraped: tuple[Exporter, str]
) -> None:
    dcgm = scraped[0]
    dcgm.said = exporter.render(gpus(db), {gpus(db)[0]["uuid"]: 50})
    wait_until(lambda: "it was busy until" in live.why()["reason"], "it is seen", 30)
    dcgm.said = ""
    wait_until(lambda: "there are no samples" in live.why()["reason"], "it is unseen", 30)
    assert live.why()["rung"] == "active"
    dcgm.said = exporter.render(gpus(db), {})
    wait_until(lambda: live.why()["rung"] == "warned", "it is warned", 30)


@pytest.mark.parametrize("label", ["Hostname", "hostname"])
def test_a_slice_is_as_busy_as_itself_and_not_as_its_card(
    live: Live, db: Database, scraped: tuple[Exporter, str], label: str
) -> None:
    """Its series bear its card's UUID; whether an exporter writes the host with a capital letter is
    nothing to us.
    """
    for index, instance in enumerate((9, 10)):
        run_sql(
            db,
            f"UPDATE gpu SET parent = 'GPU-cut', instance = {instance}, uuid = 'MIG-{instance}'"
            f" WHERE vessel_id IS NOT NULL AND idx = {index} RETURNING id",
        )
    dcgm = scraped[0]
    dcgm.said = SLICE.format(first=0.0, second=0.412, host=label)
    wait_until(lambda: "it was busy until" in live.why()["reason"], "the second is busy", 30)
    dcgm.said = SLICE.format(first=0.0, second=0.0, host=label)
    wait_until(lambda: live.why()["rung"] == "warned", "it is warned", 30)
    warned = live.why()
    assert warned["evidence"]["gpus"] == ["GPU-cut/9", "GPU-cut/10"]


def test_a_slice_whose_instance_nobody_knows_is_never_idle(
    live: Live, db: Database, scraped: tuple[Exporter, str]
) -> None:
    run_sql(
        db,
        "UPDATE gpu SET parent = 'GPU-cut', uuid = 'MIG-' || idx WHERE vessel_id IS NOT NULL"
        " RETURNING id",
    )
    scraped[0].said = SLICE.format(first=0.0, second=0.0, host="Hostname")
    wait_until(lambda: "there are no samples" in live.why()["reason"], "nobody knows", 30)
    assert live.why()["rung"] == "active"


def test_what_the_exporter_says_is_in_order() -> None:
    if not shutil.which("promtool"):
        pytest.fail("apt-get install prometheus")
    gpu = {"uuid": "GPU-1", "index": 0, "name": "NVIDIA A100", "memory_mib": 81920, "host": "gpu1"}
    said = exporter.render([gpu], {"GPU-1": 50.5})
    assert 'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1",' in said
    assert "} 50.5\n" in said
    done = subprocess.run(["promtool", "check", "metrics"], input=said, text=True,
                          capture_output=True)  # fmt: skip
    # all that it has against it is how DCGM spells its labels
    complaints = {line.partition(" ")[2] for line in done.stderr.splitlines()}
    assert complaints == {"label names should be written in 'snake_case' not 'camelCase'"}
