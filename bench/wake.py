"""From a freed GPU to the next vessel reserved, with thousands waiting.

The fleet is full, and vessels of many shapes wait. Then, again and again, a conductor's word that a
container is absent goes to a real API over HTTP. Measured is from sending that request until the
reservation of the next vessel is committed, as somebody sees it who looks at the outbox all the
time.
"""

import argparse
import random
import time
from functools import partial

import psycopg

from bench.postgres import api_settings, embedded
from bench.report import finish, p50, percentile, run
from bench.reserve import LOAD
from conductor.api import Api
from conductor.work import Work
from drc import fleet
from drc.auth import Signer
from drc.db import Database
from drc.up.postgres import Postgres
from tests.fleets import wish
from tests.host.world import serving
from tests.installation import make_keys

HOSTS = 1_250
FREED = 300
TARGETS = {"wake_p99_ms": {"max": 20}, "out_of_order": {"max": 0}}
FULL = """
UPDATE gpu SET vessel_id = ('10000000-0000-4000-8000-' || lpad(to_hex(host_id), 12, '0'))::uuid;
UPDATE gpu_count SET n_free = 0;
UPDATE vessel v SET gpus = 8, millicpus = h.millicpus, memory_mib = h.memory_mib
  FROM host h WHERE h.id = v.host_id;
UPDATE host SET millicpus_free = 0, memory_free_mib = 0;
"""


def shape(dice: random.Random) -> dict[str, object]:
    """One of a few dozen: what different people ask for."""
    models = dice.choice([None, ["m0"], ["m1"], ["m2", "m3"]])
    return {
        "models": models,
        "gpus": dice.choice([1, 1, 2, 4, 8]),
        "millicpus": dice.choice([None, 4000]),
    }


def measure(postgres: Postgres, waiting: int) -> dict[str, float]:
    dice = random.Random(1)
    keys = postgres.folder.parent / "keys"
    keys.mkdir()
    make_keys(keys)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(LOAD.format(hosts=HOSTS, busy=1).encode())
        admin.execute(FULL)
        db = Database(postgres.url(), size=2)
        for n in range(waiting):
            fleet.reserve_vessel(db, wish(1 + n % 64, f"w{n}", **shape(dice)), waits=True)
        admin.execute("VACUUM ANALYZE")
        with serving(api_settings(postgres, keys)) as url:
            tell = Api(
                url,
                Signer.load(keys / "conductor.pem"),
                "conductor:bench",
                partial(fleet.read_now, db),
            )
            times, late = wake(admin, tell, db, dice)
            tell.client.close()
        db.close()
    return {
        "waiting": float(waiting),
        "wake_p50_ms": p50(times),
        "wake_p99_ms": percentile(times, 99),
        "out_of_order": float(late),
    }


def wake(
    admin: "psycopg.Connection[tuple[int]]", tell: Api, db: Database, dice: random.Random
) -> tuple[list[float], int]:
    """Free one host's GPUs after the other. Milliseconds each, and how often another was served
    than the one that had waited longest of those that fit."""
    times: list[float] = []
    out_of_order = 0
    for host in dice.sample(range(1, HOSTS + 1), FREED):
        row = admin.execute(
            "SELECT id FROM vessel WHERE host_id = %s AND state = 'running'", [host]
        ).fetchone()
        assert row
        id = str(row[0])
        fleet.stop_vessel(db, id, "bench")
        admin.execute("DELETE FROM outbox")
        begun = time.perf_counter()
        tell.absent(Work(0, "stop", host, 1, 1, vessel_id=id, attempt=1), None)
        while not (first := admin.execute("SELECT vessel_id FROM outbox LIMIT 1").fetchone()):
            if time.perf_counter() - begun > 10:
                raise SystemExit("Nobody was served within 10 s.")
        times.append((time.perf_counter() - begun) * 1000)
        while fleet.next_waiting(db, []):  # the rest of the host's GPUs go to others meanwhile
            time.sleep(0.001)
        older = admin.execute(
            "SELECT count(*) FROM vessel w, vessel f WHERE f.id = %s AND w.state = 'queued'"
            " AND w.shape = f.shape AND w.created_at < f.created_at", [first[0]],
        ).fetchone()  # fmt: skip
        out_of_order += bool(older and older[0])
    return times, out_of_order


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wake")
    parser.add_argument("--waiting", type=int, default=5_000, help="vessels in line (5000)")
    waiting: int = parser.parse_args().waiting
    with embedded() as postgres:
        figures = measure(postgres, waiting)
    finish("wake", figures, TARGETS)


if __name__ == "__main__":
    run(main)
