"""What deploy/monitoring has: tried by promtool, and by a real Prometheus that scrapes a real API,
a conductor's metrics and an exporter that speaks as DCGM's does.
"""

import contextlib
import copy
import csv
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import paramiko
import pytest
import yaml

from conductor import metrics
from conductor.host import Door, Host
from conductor.use import Use
from conductor.work import Work
from drc import fleet
from drc.api import sweep
from drc.db import Database
from drc.fleet import Announced
from drc.up import exporter
from tests.fleets import add_host, run_sql
from tests.go.build import built
from tests.wait import wait_until
from tests.wire.history import exporting, scraping, tool
from tests.wire.served import Api
from tests.wire.standin import StandIn

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
GRAFANA = Path(__file__).parents[1] / "grafana"
FAMILY = re.compile(r"\b(?:DCGM|drc|process)_\w+")
SUFFIX = re.compile(r"_(?:bucket|count|sum)$")
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text())


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def alerts() -> list[dict[str, Any]]:
    return [rule for group in read("alerts.yml")["groups"] for rule in group["rules"]]


def rules() -> list[dict[str, Any]]:
    return [rule for group in read("rules.yml")["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    targets = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*targets, *(rule["expr"] for rule in [*rules(), *alerts()])]


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_in_order(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "drc.token").write_text("drc_x")
    promtool("check", "config", tmp_path / "prometheus.yml")


def test_rules_and_alerts_do_as_their_tests_say() -> None:
    promtool("test", "rules", Path(__file__).parent / "rules_test.yml")


def test_each_alert_is_seen_to_fire_and_says_what_to_do() -> None:
    told = (Path(__file__).parent / "rules_test.yml").read_text()
    assert len(alerts()) > 20
    for alert in alerts():
        assert f'alertname="{alert["alert"]}"' in told, "nothing shows that it fires"
        assert alert["labels"]["severity"] in ("page", "ticket")
        for text in (alert["annotations"]["summary"], alert["annotations"]["description"]):
            assert len(text) > 15
            assert text.rstrip(".,") != text.rstrip(), text


def counters() -> dict[str, list[str]]:
    """Type and help by field, as the exporter reads them."""
    lines = (FOLDER / "dcgm-counters.csv").read_text().splitlines()
    rows = csv.reader(line for line in lines if line and not line.startswith("#"))
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_the_exporter_measures_all_that_is_asked_for() -> None:
    """And what the undertaker asks for."""
    asked = {name for text in expressions() for name in FAMILY.findall(text) if name[:4] == "DCGM"}
    asked |= {"DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_GR_ENGINE_ACTIVE"}
    assert len(asked) > 8
    assert asked <= set(counters())
    for kind, text in counters().values():
        assert kind in ("gauge", "counter", "label")
        assert text


def test_the_exporters_unit_mounts_what_its_options_name() -> None:
    unit = (FOLDER / "dcgm-exporter.service").read_text()
    options = dict(re.findall(r"--(collectors|hpc-job-mapping-dir) (\S+)", unit))
    volumes = dict(re.findall(r"--volume (\S+?):(\S+):ro", unit))
    assert set(options.values()) == set(volumes) == set(volumes.values())
    assert "--cap-add SYS_ADMIN" in unit  # without it there are no DCGM_FI_PROF_ counters


DOCS = (FOLDER.parents[1] / "docs" / "monitoring.md").read_text()


def test_the_docs_list_every_metric_and_every_alert_and_no_others(
    api: Api, conductors: tuple[dict[int, Host], int]
) -> None:
    said = api.raw("GET", "/v1/metrics", token=api.token("op", "operator")).text
    said += httpx.get(f"http://127.0.0.1:{conductors[1]}/metrics", trust_env=False).text
    families = set(re.findall(r"^# TYPE (drc_\w+)", said, re.MULTILINE))
    assert len(families) > 25
    listed = set(re.findall(r"`(drc_\w+)", DOCS))
    assert listed == families
    used = {SUFFIX.sub("", name) for text in expressions() for name in FAMILY.findall(text)}
    assert {name for name in used if name.startswith("drc_")} <= families
    tables = DOCS[DOCS.index("## Alerts") :]
    assert set(re.findall(r"`((?:Drc|Dcgm|Gpu)\w+)`", tables)) == {a["alert"] for a in alerts()}
    pages = set(re.findall(r"`(Drc\w+)`", tables[: tables.index("`ticket`")]))
    assert pages == {a["alert"] for a in alerts() if a["labels"]["severity"] == "page"}


# The dashboard -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grafana_schema() -> Path:
    """A program that knows Grafana's own schema (tests/grafana)."""
    return built(GRAFANA, "grafana") / "grafana-schema"


def judged(program: Path, board: dict[str, Any], tmp_path: Path) -> tuple[int, str]:
    file = tmp_path / "board.json"
    file.write_text(json.dumps(board))
    done = subprocess.run([program, file], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_the_dashboard_is_what_grafana_s_schema_says(grafana_schema: Path, tmp_path: Path) -> None:
    assert judged(grafana_schema, DASHBOARD, tmp_path) == (0, str(len(DASHBOARD["panels"])))


@pytest.mark.parametrize(
    ("place", "field", "value", "said"),
    [
        ("", "refreshh", "1m", "Dashboard: unexpected field 'refreshh'"),
        ("", "title", 5, "title: json: cannot unmarshal number"),
        ("", "schemaVersion", None, "schemaVersion: required field is missing"),
        ("panels.1", "titel", "x", "panels[1].Panel: unexpected field 'titel'"),
        ("panels.1.options", "texts", "auto", "panels[1].options.Options: unexpected field"),
        ("panels.1.targets.0", "exprr", "up", "panels[1].targets[0].Dataquery: unexpected field"),
        ("templating.list.0", "querry", "x", "templating.list[0].VariableModel: unexpected field"),
    ],
)
def test_that_schema_finds_what_grafana_would_not_take(
    grafana_schema: Path, tmp_path: Path, place: str, field: str, value: Any, said: str
) -> None:
    board = copy.deepcopy(DASHBOARD)
    there: Any = board
    for step in filter(None, place.split(".")):
        there = there[int(step) if step.isdecimal() else step]
    there[field] = value
    if value is None:
        del there[field]
    status, found = judged(grafana_schema, board, tmp_path)
    assert status == 1
    assert said in found


def test_the_dashboard_s_panels_are_alike_and_lie_beside_each_other() -> None:
    assert DASHBOARD["schemaVersion"] == 39
    assert {"uid", "title", "templating", "annotations", "time"} <= set(DASHBOARD)
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "owner", "queue", "host"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert titles == ["The fleet at a glance", "Queues", "Start-up", "GPUs by owner", "Health",
                      "Our programs"]  # fmt: skip
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        covered = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not covered & cells, f"{panel['title']} lies over another"
        cells |= covered
    for panel in panels():
        assert panel["type"] in ("stat", "timeseries", "table")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert [target["refId"] for target in panel["targets"]] == list("ABC")[
            : len(panel["targets"])
        ]
        for target in panel["targets"]:
            assert target["instant"] is not target["range"]


MORE = """
# TYPE DCGM_EXP_XID_ERRORS_COUNT gauge
DCGM_EXP_XID_ERRORS_COUNT{{{labels},window_size_in_ms="300000",xid="31"}} 2
# TYPE DCGM_FI_DEV_ECC_DBE_VOL_TOTAL counter
DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{labels}}} 0
# TYPE DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS counter
DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS{{{labels}}} 0
"""


class World:
    """A fleet with a bit of everything, and a Prometheus that was told of it by our API alone."""

    def __init__(self, api: Api, db: Database, standin: StandIn, url: str) -> None:
        self.api, self.db, self.standin, self.url = api, db, standin, url

    def ask(self, expression: str) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, trust_env=False)
        assert answer.json()["status"] == "success", (expression, answer.text)
        return answer.json()["data"]["result"]

    def has(self, expression: str) -> bool:
        """Whether there is data, and in it a number."""
        found = self.ask(expression)
        return any(math.isfinite(float(one["value"][1])) for one in found)


def configuration(api: Api, token: Path) -> str:
    """The deployed one, for this API and as quick as a test."""
    told = read("prometheus.yml")
    told["global"] = {"scrape_interval": "1s", "evaluation_interval": "250ms"}
    rules = re.sub(r"interval: 1m.*", "interval: 250ms", (FOLDER / "rules.yml").read_text())
    (token.parent / "rules.yml").write_text(rules)
    told["rule_files"] = [str(token.parent / "rules.yml"), str(FOLDER / "alerts.yml")]
    for job in told["scrape_configs"]:
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(token)
        for discovery in job.get("http_sd_configs", []):
            discovery["url"] = discovery["url"].replace("http://127.0.0.1:8787", api.url)
            discovery["authorization"]["credentials_file"] = str(token)
            discovery["refresh_interval"] = "500ms"
    return yaml.safe_dump(told)


@pytest.fixture
def conductors() -> Iterator[tuple[dict[int, Host], int]]:
    """A conductor's metrics without the conductor: its hosts, and the port."""
    hosts: dict[int, Host] = {}
    server = metrics.serve(hosts, "127.0.0.1", 0)
    yield hosts, server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def dcgm(db: Database) -> Iterator[int]:
    """An exporter of the held GPUs, the first of which does nothing. Its port."""

    def told() -> str:
        gpus = run_sql(
            db,
            "SELECT uuid, idx AS index, name, memory_mib, 'by-dcgm' AS host FROM gpu"
            " WHERE vessel_id IS NOT NULL ORDER BY idx",
        )
        usage = {gpu["uuid"]: 60.0 for gpu in gpus[1:]}
        return exporter.render(gpus, usage) + MORE.format(labels=exporter.labels_of(gpus[0]))

    with exporting(told) as port:
        yield port


@pytest.fixture
def world(
    api: Api, db: Database, standin: StandIn, dcgm: int, tmp_path: Path,
    conductors: tuple[dict[int, Host], int],
) -> Iterator[World]:  # fmt: skip
    hosts, port = conductors
    door = Door(
        id=1, name="gpu1", ssh_user="root", ssh_address="10.0.0.1", ssh_port=22, ssh_host_key=None,
        docker_socket="/d", address="10.0.0.1", ports_from=22000, simulate=None, probed=True,
        open=True,
    )  # fmt: skip
    hosts[1] = Host(door, paramiko.ECDSAKey.generate())
    hosts[1].use["ada", "bert"] = Use(12.5, 2**20, 10, 20)
    hosts[1].disk_free_mib = 100_000
    take_a_step()
    add_host(db, "gpu2", {"h100": 2})
    assert fleet.set_host(db, "gpu2", exporter="none")
    assert fleet.set_host(db, "gpu1", exporter=f"127.0.0.1:{dcgm}")
    fleet.announce_program(db, Announced("conductor", "conductor:tests", f"127.0.0.1:{port}"))
    address = api.url.removeprefix("http://")
    api.context.announced = Announced("api", "here", address)
    sweep.run_once(api.context)
    with api.client("op", "operator") as client:
        wanted = {"name": "prometheus", "permissions": ["targets:read", "metrics:read"]}
        token = client.call("POST", "/v1/tokens", wanted)["token"]
    (tmp_path / "drc.token").write_text(token)
    api.create("bert", gpus=2, gpu=["a100"])
    api.create("waits", gpus=4, gpu=["a100"])
    standin.run_once()
    run_sql(db, "INSERT INTO mended VALUES ('berth', 1)")
    run_sql(
        db,
        "INSERT INTO idle (vessel_id, rung, verdict, reason, judged_at, keep_to, keeps_left)"
        " SELECT id, 'active', 'keep', 'it is young', now(), now(), 3 FROM vessel WHERE living",
    )
    with scraping(configuration(api, tmp_path / "drc.token")) as url:
        yield World(api, db, standin, url)


def take_a_step() -> None:
    """As a conductor does."""
    work = Work(id=1, verb="start", host_id=1, generation=1, tries=1)
    work.begin("berth")
    work.end()
    metrics.WORK.labels("start", "done").inc()


def test_each_panel_of_the_dashboard_has_data(world: World) -> None:
    wait_until(lambda: world.has("drc_start_seconds_count"), "the first start is scraped", 30)
    wait_until(lambda: world.has("drc_conductor_step_seconds_count"), "the conductor is", 30)
    world.api.create("owl", gpu=["a100"])
    world.standin.run_once()  # counters of a kind are known by now, so that this one is an increase
    take_a_step()
    world.api.create("newt", gpu=["a100"])  # its work stays due, for nobody takes it
    world.api.raw("GET", "/v1/vessels/nobody")
    missing = {
        (panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]
    }

    def all_there() -> bool:
        missing.difference_update([one for one in missing if world.has(filled(one[1]))])
        return not missing

    with contextlib.suppress(AssertionError):  # the one below tells which
        wait_until(all_there, "each panel has data", 40)
    assert missing == set()
    # by drc's name for the host, whatever the exporter calls it, and only once
    labels = [one["metric"] for one in world.ask("DCGM_FI_DEV_GPU_UTIL")]
    assert {one["host"] for one in labels} == {"gpu1"}
    assert not [name for one in labels for name in one if name.lower() == "hostname"]
    wait_until(lambda: world.has('drc:gpus_idle:sum{owner="ada"} == 1'), "one of hers idles")
    wait_until(lambda: not world.ask('up{job!="prometheus"} == 0'), "all answer")


def filled(expression: str) -> str:
    """With what Grafana puts in."""
    for variable in ("owner", "queue", "host"):
        expression = expression.replace(f"${variable}", ".*")
    expression = expression.replace("$__rate_interval", "1m").replace("$__range", "1h")
    assert "$" not in expression
    return expression
