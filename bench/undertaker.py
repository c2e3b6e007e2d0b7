"""One round over 100, 1,000 and 10,000 GPUs: a real Prometheus holds what they did, at 60 s.

A vessel has four GPUs; a tenth of the vessels is idle. Twelve pairs of calendar and window. The
round runs in a process of its own, with every verdict new: the first round there is.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import psycopg

from bench.postgres import embedded
from bench.report import finish, run
from drc.client import Client
from drc.db import Database, migrate
from tests.wire.history import Story, prometheus, utc
from undertaker.policy import Policies
from undertaker.round import run_once
from undertaker.usage import Prometheus

SIZES = (100, 1_000, 10_000)  # GPUs
NOW = utc(19, 17)  # a Thursday
SEEN = timedelta(hours=16)
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York")
WINDOWS = (4, 6, 8)
TARGETS = {"round_s": {"max": 10}, "peak_mib": {"max": 300}}
LOAD = """
TRUNCATE outbox, event, held, gpu, gpu_count, gpu_kind, home, idle, message, vessel, berth, host,
  owner RESTART IDENTITY CASCADE;
INSERT INTO owner (subject, login) SELECT 'o' || i, 'o' || i FROM generate_series(0, 11) i;
INSERT INTO host (name, ssh_user, ssh_address, ssh_host_key, probed, committed, cpus, n_gpus,
                  millicpus, millicpus_free, memory_mib, memory_free_mib)
  SELECT 'h' || i, 'root', 'h' || i, 'x', false, true, 256, 4, 256000, 0, 2048, 0
  FROM generate_series(1, {vessels}) i;
INSERT INTO vessel (id, owner_id, name, state, gpus, image, lifetime, host_id, millicpus,
                    memory_mib, token_hash, request_hash, ends_at, created_at, queues)
  SELECT ('10000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 1 + i % 12, 'v' || i,
         'running', 4, 'x', '60 days', i, 0, 0, '', '', '2030-01-01', '2026-11-01', '{{default}}'
  FROM generate_series(1, {vessels}) i;
INSERT INTO gpu (host_id, uuid, idx, name, model, memory_mib, vessel_id)
  SELECT i, 'GPU-5a6f1d0c-0000-4000-8000-' || lpad((i * 4 + g)::text, 12, '0'), g, 'x', 'a100',
         81920, ('10000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid
  FROM generate_series(1, {vessels}) i, generate_series(0, 3) g;
INSERT INTO held (vessel_id, attempt, gpu_id, from_at)
  SELECT vessel_id, 1, id, '2026-11-01' FROM gpu;
"""


def stories(gpus: int) -> dict[str, Story]:
    def story(vessel: int) -> Story:
        busy = 0.0 if vessel % 10 == 0 else 60.0
        return lambda at: busy

    return {
        f"GPU-5a6f1d0c-0000-4000-8000-{i * 4 + g:012d}": story(i)
        for i in range(1, gpus // 4 + 1)
        for g in range(4)
    }


def policy(path: Path) -> None:
    with path.open("w") as out:
        for n in range(12):
            out.write(f'[user.o{n}]\nzone = "{ZONES[n % 4]}"\nhours = "24x7"\n')
            out.write(f"warn_after = {WINDOWS[n // 4]}\n")


def judge(database: str, url: str, path: Path) -> None:
    """One round, in this process: prints what it took."""
    db, prometheus = Database(database, size=2), Prometheus(url)
    nobody = Client("http://127.0.0.1:9", lambda: None)  # nobody is buried in a first round
    begun = time.perf_counter()
    done = run_once(db, nobody, NOW, Policies.load(path), prometheus)
    took = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"s": took, "mib": peak, "queries": prometheus.queries, "done": dict(done)}))


def measure(database: str, url: str, path: Path, gpus: int) -> dict[str, float]:
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(LOAD.format(vessels=gpus // 4).encode())
        admin.execute("VACUUM ANALYZE")
    told = subprocess.run(
        [sys.executable, "-m", "bench.undertaker", "--judge", database, url, str(path)],
        stdout=subprocess.PIPE, check=True, text=True, env=os.environ,
    ).stdout  # fmt: skip
    found = json.loads(told)
    warned = found["done"].get("warn", 0)
    if warned != gpus // 40:
        raise SystemExit(f"{warned} vessels of {gpus // 4} are warned, not a tenth: {found}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.undertaker")
    parser.add_argument("--judge", nargs=3, metavar=("DATABASE", "URL", "POLICY"))
    asked = parser.parse_args()
    if asked.judge:
        return judge(asked.judge[0], asked.judge[1], Path(asked.judge[2]))
    with tempfile.TemporaryDirectory() as place, embedded() as postgres:
        path = Path(place) / "policy.toml"
        policy(path)
        migrate(postgres.url())
        print(f"writing the past of {SIZES[-1]} GPUs", flush=True)
        with prometheus(stories(SIZES[-1]), NOW - SEEN, NOW) as url:
            found = {gpus: measure(postgres.url(), url, path, gpus) for gpus in SIZES}
    largest, middle, smallest = found[10_000], found[1_000], found[100]
    figures = {
        "round_s": largest["s"],
        "peak_mib": largest["mib"],
        "queries": largest["queries"],
        "round_1000_s": middle["s"],
        "round_100_s": smallest["s"],
        "queries_100": smallest["queries"],
    }
    return finish("undertaker", figures, TARGETS)


if __name__ == "__main__":
    if "--judge" in sys.argv:
        main()
    else:
        run(main)
