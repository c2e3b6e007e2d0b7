"""What API, conductor and Postgres hold in memory: at rest, and with a thousand vessels' rows.

Programs of the bench's own, as `drc up` starts them. Memory is proportional set size (PSS): pages
that several processes share are split among them.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from bench.postgres import embedded
from bench.report import finish, run
from bench.reserve import LOAD
from drc.auth import Signer
from drc.client import Client
from drc.errors import DrcError
from drc.up.postgres import Postgres
from tests.host.machine import descendants, make_key
from tests.installation import make_keys

VESSELS = 1_000
REST = 10.0  # seconds after the start; by then both have made their first rounds
TARGETS = {"api_and_conductor_mib": {"max": 150}}


def pss_mib(pid: int) -> float:
    total = 0
    for each in (pid, *descendants(pid)):
        rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        total += next(int(line.split()[1]) for line in rollup.splitlines() if "Pss:" in line)
    return total / 1024


@contextmanager
def program(module: str, environ: dict[str, str], log: Path) -> Generator[int]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", module], env={**os.environ, **environ}, stdout=out, stderr=out
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def until_healthy(url: str, log: Path) -> None:
    client, deadline = Client(url, lambda: "none is needed"), time.monotonic() + 30
    while True:
        try:
            client.call("GET", "/health")
            return client.close()
        except DrcError as failed:
            if time.monotonic() > deadline:
                raise SystemExit(f"The API did not come up: {log.read_text()[-2000:]}") from failed
            time.sleep(0.1)


def measure(postgres: Postgres) -> dict[str, float]:
    folder = postgres.folder.parent
    keys = folder / "keys"
    keys.mkdir()
    make_keys(keys)
    make_key(keys / "ssh")
    url = f"http://127.0.0.1:{free_port()}"
    api = {
        "DRC_DATABASE_URL": postgres.url("drc_api"),
        "DRC_KEYS": str(keys),
        "DRC_SECRET": str(keys / "secret"),
        "DRC_PORT": url.rpartition(":")[2],
    }
    conductor = {
        "DRC_DATABASE_URL": postgres.url("drc_conductor"),
        "DRC_URL": url,
        "DRC_SIGNING_KEY": str(keys / "conductor.pem"),
        "DRC_SSH_KEY": str(keys / "ssh"),
    }
    server = int((postgres.data / "postmaster.pid").read_text().split()[0])
    with program("drc.api", api, folder / "api.log") as api_pid:
        until_healthy(url, folder / "api.log")
        with program("conductor.main", conductor, folder / "conductor.log") as conductor_pid:
            time.sleep(REST)
            rest = [pss_mib(pid) for pid in (api_pid, conductor_pid, server)]
            fill_and_list(postgres, url, keys)
            full = [pss_mib(pid) for pid in (api_pid, conductor_pid, server)]
    return {
        "api_and_conductor_mib": rest[0] + rest[1],
        "api_mib": rest[0],
        "conductor_mib": rest[1],
        "postgres_mib": rest[2],
        "full_api_mib": full[0],
        "full_conductor_mib": full[1],
        "full_postgres_mib": full[2],
    }


def fill_and_list(postgres: Postgres, url: str, keys: Path) -> None:
    """A thousand vessels, on closed hosts so that nobody knocks at them, listed a few times."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(LOAD.format(hosts=VESSELS, busy=0.85).encode())
        admin.execute("UPDATE host SET probed = false")
    token = Signer.load(keys / "api.pem").sign(
        "bench", ["operator"], datetime.now(UTC), timedelta(hours=1)
    )
    client = Client(url, lambda: token)
    for _ in range(5):
        found = client.call("GET", "/v1/vessels", params={"everybody": True})
        if len(found) != VESSELS:
            raise SystemExit(f"{len(found)} vessels were listed, not {VESSELS}.")
    client.close()


def main() -> None:
    with embedded() as postgres:
        figures = measure(postgres)
    finish("memory", figures, TARGETS)


if __name__ == "__main__":
    run(main)
