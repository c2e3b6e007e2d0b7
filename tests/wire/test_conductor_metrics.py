"""What a conductor tells Prometheus; an engine that only tells stats, as a real one spells them."""

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import docker
import httpx
import paramiko
import pytest

from conductor import metrics, use
from conductor.host import Door, Host
from conductor.main import Conductor
from conductor.reach.local import Local
from conductor.use import Use
from conductor.work import Work
from drc import fleet
from drc.db import Database
from drc.errors import Misconfigured, StaleAttempt
from tests.unit.test_use import GROUPS_1, GROUPS_2
from tests.wire.standin import StandIn

DOOR = {
    "ssh_user": "root", "ssh_address": "10.0.0.1", "ssh_port": 22, "ssh_host_key": None,
    "docker_socket": "/d", "address": "10.0.0.1", "ports_from": 22000, "simulate": None,
    "probed": True, "open": True,
}  # fmt: skip


def host(id: int, name: str) -> Host:
    return Host(Door(id=id, name=name, **DOOR), paramiko.ECDSAKey.generate())


@pytest.fixture
def hosts() -> dict[int, Host]:
    return {1: host(1, "gpu1"), 2: host(2, "gpu2")}


@pytest.fixture
def url(hosts: dict[int, Host]) -> Iterator[str]:
    server = metrics.serve(hosts, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()


def said(url: str) -> list[str]:
    return httpx.get(url, trust_env=False).text.splitlines()


def test_what_vessels_use_is_told_until_they_end_or_their_host_is_silent(
    hosts: dict[int, Host], url: str
) -> None:
    hosts[1].use["ada", "bert"] = Use(12.5, 2**20, 10, 20)
    hosts[1].disk_free_mib = 3
    who = '{host="gpu1",owner="ada",vessel="bert"}'
    lines = said(url)
    for line in (
        f"drc_vessel_cpu_seconds_total{who} 12.5",
        f"drc_vessel_memory_bytes{who} 1.048576e+06",
        f"drc_vessel_network_receive_bytes_total{who} 10.0",
        f"drc_vessel_network_transmit_bytes_total{who} 20.0",
        'drc_host_disk_free_bytes{host="gpu1"} 3.145728e+06',
        'drc_conductor_hosts{state="connected"} 2.0',
        'drc_conductor_hosts{state="silent"} 0.0',
    ):
        assert line in lines
    hosts[1].silent_since = 1.0
    lines = said(url)
    assert 'drc_conductor_hosts{state="silent"} 1.0' in lines
    assert not [line for line in lines if '"bert"' in line or 'host="gpu1"' in line]
    hosts.clear()
    assert 'drc_conductor_hosts{state="connected"} 0.0' in said(url)


def test_all_of_it_is_as_prometheus_wants_it(hosts: dict[int, Host], url: str) -> None:
    if not shutil.which("promtool"):
        pytest.fail("apt-get install prometheus")
    hosts[1].use["ada", "bert"] = Use(12.5, 2**20, 10, 20)
    metrics.WORK.labels("start", "done").inc()
    text = "\n".join([*said(url), ""])
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                          capture_output=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def taken(verb: str, step: str) -> float:
    labels = {"verb": verb, "step": step}
    return metrics.REGISTRY.get_sample_value("drc_conductor_step_seconds_count", labels) or 0


def test_a_step_is_timed_when_it_was_taken_and_not_when_it_broke_off() -> None:
    before = {step: taken("start", step) for step in ("berth", "image", "token")}
    work = Work(id=1, verb="start", host_id=1, generation=1, tries=1)
    work.begin("berth")
    work.begin("image")
    work.lost.set()
    with pytest.raises(StaleAttempt):
        work.begin("token")
    assert {step: taken("start", step) - count for step, count in before.items()} == {
        "berth": 1, "image": 0, "token": 0,
    }  # fmt: skip
    again = Work(id=1, verb="start", host_id=1, generation=1, tries=2)
    again.begin("token")
    again.end()
    assert taken("start", "token") == before["token"] + 1


def test_a_port_that_is_taken_is_a_sentence(hosts: dict[int, Host], url: str) -> None:
    port = int(url.split(":")[2].partition("/")[0])
    with pytest.raises(Misconfigured, match=f"at 127.0.0.1, port {port}"):
        metrics.serve(hosts, "127.0.0.1", port)


def test_a_conductor_is_announced_until_it_ends(
    standin: StandIn, db: Database, tmp_path: Any
) -> None:
    key = tmp_path / "key"
    paramiko.ECDSAKey.generate().write_private_key_file(str(key))
    conductor = Conductor(standin.db, standin.tell, key, "drc/net:test", 0, None, Local())
    try:
        conductor.announced = fleet.Announced("conductor", conductor.name, "127.0.0.1:9410")
        conductor.announce()
        (told,) = fleet.list_programs(db, timedelta(days=1))
        assert (told["name"], told["address"]) == ("conductor:standin", "127.0.0.1:9410")
        conductor.withdraw()
        assert fleet.list_programs(db, timedelta(days=1)) == []
    finally:
        for pool in (conductor.workers, conductor.lookers, conductor.readers):
            pool.shutdown()


class Engine:
    """Answers as Docker does what it is asked of stats, and writes down what that was."""

    def __init__(self, stats: dict[str, Any]) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                name = self.path.split("/")[3]
                found = stats.get(name)
                body = found or {"message": f"No such container: {name}"}
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine({"joined": GROUPS_1, "alone": GROUPS_2, "net": GROUPS_1})
    yield engine
    engine.server.shutdown()
    engine.server.server_close()


@pytest.fixture
def client(engine: Engine) -> Iterator[docker.APIClient]:
    client = docker.APIClient(f"http://127.0.0.1:{engine.server.server_port}", "1.41")
    client.trust_env = False
    yield client
    client.close()


def test_an_engine_is_asked_once_and_for_one_shot(engine: Engine, client: Any) -> None:
    assert use.read(client, "joined", "net") == Use(0.20469664, 778240, 800, 12)
    assert engine.asked == ["/v1.41/containers/joined/stats?stream=False&one-shot=True"]


def test_an_engine_that_tells_no_network_of_a_vessel_is_asked_of_its_network_container(
    engine: Engine, client: Any
) -> None:
    assert use.read(client, "alone", "net") == Use(5, 700, 800, 12)
    assert len(engine.asked) == 2


def test_a_container_that_is_gone_meanwhile_uses_nothing(client: Any) -> None:
    assert use.read(client, "gone", "net") is None
    assert use.read(client, "alone", "gone") is None
