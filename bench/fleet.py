"""Ten thousand GPUs in 1,250 hosts: found through our API, scraped by a real Prometheus, judged.

Every host's exporter is one of its own, at an address of its own out of 127.0.0.0/8; one scrape in
a hundred fails. A round is one look of the undertaker: what Prometheus has, compared with the books
and told to the API. Then a week of looks is simulated, with as many failed scrapes and what a look
consists of: an alarm is a message that anybody would get.
"""

import argparse
import asyncio
import itertools
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg

from bench.postgres import api_settings, embedded
from bench.report import finish, p50, run
from drc import fleet
from drc.auth import Signer
from drc.db import Database
from drc.program import Program
from drc.prometheus import Prometheus
from drc.trouble import diagnose
from drc.up.postgres import Postgres
from tests.host.world import serving
from tests.installation import make_keys
from tests.wait import wait_until
from tests.wire.history import scraping
from undertaker import signs, tell
from undertaker.look import inform, suspect

HOSTS, GPUS = 1_250, 8
PORT = 29_400
MISSED = 0.01
ROUNDS = 5
WEEK = 7 * 24 * 60  # looks, and scrapes: one a minute of each
TARGETS = {"discovery_ms": {"max": 200}, "round_s": {"max": 5}, "false_alarms": {"max": 0}}
LOAD = """
INSERT INTO owner (subject, login) SELECT 'o' || i, 'o' || i FROM generate_series(0, 11) i;
INSERT INTO host (name, ssh_user, ssh_address, ssh_host_key, exporter, probed, committed, cpus,
                  n_gpus, millicpus, millicpus_free, memory_mib, memory_free_mib)
  SELECT 'h' || i, 'root', '127.1.' || i / 250 || '.' || i % 250 + 1, 'x',
         '127.1.' || i / 250 || '.' || i % 250 + 1 || ':{port}', true, true, 256, 8, 256000, 0,
         2048, 0
  FROM generate_series(1, {hosts}) i;
INSERT INTO gpu (host_id, uuid, idx, name, model, memory_mib)
  SELECT i, 'GPU-5a6f1d0c-0000-4000-8000-' || lpad((i * 8 + g)::text, 12, '0'), g, 'x', 'a100',
         81920
  FROM generate_series(1, {hosts}) i, generate_series(0, 7) g;
"""
SCRAPING = """\
global: {{scrape_interval: 15s, scrape_timeout: 10s}}
scrape_configs:
  - job_name: dcgm
    http_sd_configs:
      - url: {url}/v1/targets/dcgm
        refresh_interval: 30s
        authorization: {{type: Bearer, credentials: {token}}}
"""
FAMILIES = (
    ("DCGM_FI_DEV_GPU_TEMP", 61), ("DCGM_FI_DEV_GPU_UTIL", 97), ("DCGM_FI_DEV_FB_USED", 81234),
    ("DCGM_FI_DEV_XID_ERRORS", 0), ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", 0),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", 0),
)  # fmt: skip


def uuid(host: int, gpu: int) -> str:
    return f"GPU-5a6f1d0c-0000-4000-8000-{host * 8 + gpu:012d}"


def exposition(host: int) -> bytes:
    lines: list[str] = []
    for family, value in FAMILIES:
        lines += [f"# HELP {family} of a GPU.", f"# TYPE {family} gauge"]
        for gpu in range(GPUS):
            labels = (
                f'gpu="{gpu}",UUID="{uuid(host, gpu)}",pci_bus_id="00000000:8{gpu}:00.0",'
                f'device="nvidia{gpu}",modelName="NVIDIA A100-SXM4-80GB",Hostname="h{host}",'
                'DCGM_FI_DRIVER_VERSION="590.48.01"'
            )
            lines.append(f"{family}{{{labels}}} {value}")
    return ("\n".join(lines) + "\n").encode()


def export(hosts: int) -> None:
    """The exporters of all hosts, in this process."""
    dice = random.Random(1)

    async def answer(
        body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                fails = dice.random() < MISSED
                status, said = ("503 Service Unavailable", b"") if fails else ("200 OK", body)
                head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n"
                writer.write(f"{head}Content-Length: {len(said)}\r\n\r\n".encode() + said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def serve() -> None:
        for host in range(1, hosts + 1):
            address = f"127.1.{host // 250}.{host % 250 + 1}"
            await asyncio.start_server(partial(answer, exposition(host)), address, PORT)
        print("up", flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


def measure(postgres: Postgres, folder: Path, hosts: int) -> dict[str, float]:
    make_keys(folder)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(LOAD.format(hosts=hosts, port=PORT).encode())
        admin.execute("VACUUM ANALYZE")
    exporters = subprocess.Popen(
        [sys.executable, "-m", "bench.fleet", "--export", str(hosts)], stdout=subprocess.PIPE
    )
    assert exporters.stdout is not None
    try:
        exporters.stdout.readline()
        with serving(api_settings(postgres, folder)) as url:
            token = Signer.load(folder / "api.pem").sign(
                "prometheus", ["operator"], datetime.now(UTC), timedelta(hours=1)
            )
            found = {"discovery_ms": discover(url, token)}
            with scraping(SCRAPING.format(url=url, token=token)) as at:
                return found | look(postgres, url, at, folder, hosts)
    finally:
        exporters.kill()
        exporters.wait()
        exporters.stdout.close()


def discover(url: str, token: str) -> float:
    times: list[float] = []
    head = {"Authorization": f"Bearer {token}"}
    with httpx.Client(trust_env=False, base_url=url, headers=head) as http:
        for _ in range(20):
            begun = time.perf_counter()
            answer = http.get("/v1/targets/dcgm")
            times.append((time.perf_counter() - begun) * 1000)
            assert len(answer.json()) == HOSTS
    return p50(times)


def look(postgres: Postgres, url: str, at: str, folder: Path, hosts: int) -> dict[str, float]:
    eyes, prometheus = Database(postgres.url("drc_undertaker"), size=2), Prometheus(at)
    signer = Signer.load(folder / "undertaker.pem")
    us = Program(url, signer, "undertaker", partial(fleet.read_now, eyes))
    print("waiting until every GPU is heard", flush=True)
    heard = lambda: len(signs.measure(prometheus).now) == hosts * GPUS  # noqa: E731
    wait_until(heard, "every GPU is heard", 120)
    times, doubts, messages = list[float](), list[int](), list[int]()
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        doubts.append(suspect(eyes, us.client, prometheus))
        messages.append(inform(eyes, fleet.read_now(eyes)))
        times.append(time.perf_counter() - begun)
    us.client.close()
    prometheus.close()
    eyes.close()
    return {
        "round_s": p50(times),
        "round_longest_s": max(times),
        "gpus_heard": float(hosts * GPUS),
        "doubts": float(max(doubts)),
        "messages": float(max(messages)),
    }


def week(hosts: int, missed: float) -> tuple[int, int]:
    """How many doubts of hosts there were in a week of looks, and how many messages."""
    dice, window = random.Random(7), int(signs.WINDOW.removesuffix("m"))
    begin = datetime(2026, 11, 23, tzinfo=UTC)
    doubted = alarms = 0
    for host in range(1, hosts + 1):
        cards = frozenset(uuid(host, gpu) for gpu in range(GPUS))
        fails = [dice.random() < missed for _ in range(WEEK)]
        began: datetime | None = None
        # only where no scrape of the window succeeded has Prometheus nothing of it
        for minute, run_ in enumerate(
            itertools.accumulate(fails, lambda n, f: (n + 1) * f, initial=0)
        ):
            if run_ < window:
                began = None
                continue
            measured = signs.Measured(frozenset(), cards, {})
            found = signs.doubts([{"uuid": one, "signs": {}} for one in cards], measured)
            if began is None:
                doubted, began = doubted + 1, begin + timedelta(minutes=minute)
            alarms += len(
                tell.notes(
                    tell.due(troubles(host, found, began), begin + timedelta(minutes=minute))
                )
            )
    return doubted, alarms


def troubles(host: int, doubts: list[dict[str, Any]], began: datetime) -> list[dict[str, Any]]:
    """What the look at a host that is well finds of these."""
    books = [
        {"uuid": one["uuid"], "signs": {one["sign"]: one["value"]}, "accepted": None}
        for one in doubts
    ]
    well = {one["uuid"]: {"fault": "", "leftover": ""} for one in doubts}
    health = {"exporter": True, "driver": None, "driver_said": "", "gpus": well}
    return [
        {"id": host, "kind": one.kind, "host": f"h{host}", "uuid": one.uuid, "index": None,
         "detail": one.detail, "began_at": began, "ended_at": None, "told_at": None, "vessels": []}
        for one in diagnose(health, books)
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet")
    parser.add_argument("--export", type=int, metavar="HOSTS")
    asked = parser.parse_args()
    if asked.export:
        return export(asked.export)
    with tempfile.TemporaryDirectory() as place, embedded() as postgres:
        figures = measure(postgres, Path(place), HOSTS)
    doubted, alarms = week(HOSTS, MISSED)
    worse, louder = week(HOSTS, 10 * MISSED)
    figures |= {
        "false_alarms": float(alarms + figures["messages"]),
        "week_doubts": float(doubted),
        "week_doubts_at_10_percent": float(worse),
        "week_alarms_at_10_percent": float(louder),
    }
    return finish("fleet", figures, TARGETS)


if __name__ == "__main__":
    if "--export" in sys.argv:
        main()
    else:
        run(main)
