"""The shipped reservation and its release, beside the same design with nothing else in it.

Both run on one embedded Postgres of the bench's own, one after the other, by pgbench: a cycle is a
reservation and its release, two durable commits. The floor is bench/bare (one row per GPU and a
counter); ours besides writes the GPU's history, the outbox row, owner, name and token, and answers
whether a miss was only contention. A release is `bury_vessel`, let in from `reserved`.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.plan import generic_plan, pages
from bench.report import finish, percentile, run
from drc.db import migrate, statement
from drc.up.postgres import Postgres

HERE = Path(__file__).parent
HOSTS = (1_250, 10_000)
CLIENTS = (16, 64)
BUSY = 0.85
TARGETS = {
    "ratio_to_bare": {"min": 0.85},
    "double_bookings": {"max": 0},
    "lost_gpus": {"max": 0},
    "deadlocks": {"max": 0},
    "p99_ms": {"max": 50},
    "buffers_per_pick": {"max": 50},
}
ID = "('00000000-0000-4000-8000-' || lpad(to_hex(:n::bigint), 12, '0'))::uuid"
VALUES = {
    "id": ID,
    "owner_id": "1",
    "name": "('v' || to_hex(:n::bigint))",
    "gpus": ":gpus",
    "models": "ARRAY['m' || :model]",
    "gpu_memory_mib": "1",
    "millicpus": "4000",
    "memory_mib": "32",
    "host": "NULL",
    "shm_mib": "NULL",
    "image": "'drc/vessel'",
    "env": "'{}'",
    "lifetime": "'7 days'",
    "token_hash": "'token'",
    "idempotency_key": "NULL",
    "request_hash": "''",
    "attempt": "1",
    "sources": "ARRAY['reserved']",
}
LOAD = """
TRUNCATE outbox, event, held, gpu, gpu_count, gpu_model, vessel, berth, host, owner
  RESTART IDENTITY CASCADE;
SELECT setseed(0.42);
INSERT INTO owner (subject, login) VALUES ('bench', 'bench');
INSERT INTO gpu_model SELECT 'm' || i FROM generate_series(0, 3) i;
INSERT INTO host (name, ssh_user, ssh_address, ssh_host_key, probed, committed, cpus, n_gpus,
                  millicpus, millicpus_free, memory_mib, memory_free_mib)
  SELECT 'h' || i, 'root', 'x', 'x', true, true, 256, 8, 256000, 256000, 2048, 2048
  FROM generate_series(1, {hosts}) i;
INSERT INTO vessel (id, owner_id, name, state, gpus, image, lifetime, host_id, millicpus,
                    memory_mib, token_hash, request_hash)
  SELECT ('10000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 1, 'busy' || i, 'running',
         0, 'x', '7 days', i, 0, 0, '', '' FROM generate_series(1, {hosts}) i;
INSERT INTO gpu (host_id, uuid, idx, name, model, memory_mib, vessel_id)
  SELECT i, i || '/' || g, g, 'x', 'm' || i % 4, (ARRAY[24576, 40960, 81920, 143360])[i % 4 + 1],
         CASE WHEN random() > {busy} THEN NULL
              ELSE ('10000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid END
  FROM generate_series(1, {hosts}) i, generate_series(0, 7) g;
INSERT INTO gpu_count SELECT host_id, model, memory_mib, count(*) FILTER (WHERE vessel_id IS NULL)
  FROM gpu GROUP BY 1, 2, 3;
"""
CHECKS = {
    "double_bookings": """
        SELECT count(*) FROM (SELECT v.id FROM vessel v LEFT JOIN gpu g ON g.vessel_id = v.id
        WHERE v.state = 'reserved' GROUP BY v.id HAVING count(g.id) <> v.gpus) x""",
    "lost_gpus": """
        SELECT coalesce(sum(abs(n_free - (SELECT count(*) FROM gpu g WHERE g.host_id = c.host_id
        AND g.model = c.model AND g.memory_mib = c.memory_mib AND g.vessel_id IS NULL))), 0)
        FROM gpu_count c""",
}


def script(name: str) -> str:
    """A statement of the product's as pgbench wants it: its parameters as expressions."""
    text = re.sub(r"--.*", "", statement(name).decode())
    return re.sub(r"%\((\w+)\)s", lambda found: VALUES[found[1]], text).strip()


def cycle() -> str:
    # pgbench can branch on numbers only
    reserve = script("reserve_vessel").replace(
        "SELECT v.state,", "SELECT (v.state = 'reserved')::int AS ok,"
    )
    return (
        "\\set model random(0, 3)\n\\set gpus 1 + random(0, 3) / 3\n"
        "\\set n random(1, 140000000000000)\n"
        f"{reserve}\n\\gset\n"
        "\\if :ok\n" + script("bury_vessel") + ";\n\\endif\n"
    )


@dataclass
class Bench:
    postgres: Postgres
    folder: Path
    seconds: int

    def sql(self, text: str) -> list[tuple[int]]:
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def psql(self, file: Path, **variables: object) -> str:
        options = [f"-v{key}={value}" for key, value in variables.items()]
        return self.call("psql", "-qX", *options, "-f", str(file))

    def call(self, program: str, *arguments: str) -> str:
        line = [str(self.postgres.server / "bin" / program), *arguments, self.postgres.url()]
        done = subprocess.run(line, capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout

    def load(self, kind: str, hosts: int) -> None:
        if kind == "bare":
            self.psql(HERE / "bare" / "load.sql", H=hosts, U=BUSY)
        else:
            self.sql(LOAD.format(hosts=hosts, busy=BUSY))
            self.sql("VACUUM ANALYZE")

    def pgbench(self, kind: str, clients: int) -> tuple[float, float]:
        """Cycles per second, and the 99th percentile of a cycle in milliseconds."""
        file = HERE / "bare" / "cycle.pgb" if kind == "bare" else self.folder / "ours.pgb"
        for log in self.folder.glob("pgbench_log*"):
            log.unlink()
        said = self.call(
            "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-l",
            "-T", str(self.seconds), "-f", str(file),
        )  # fmt: skip
        tps = re.search(r"tps = ([\d.]+)", said)
        times = [
            int(line.split()[2]) / 1000
            for log in self.folder.glob("pgbench_log*")
            for line in log.read_text().splitlines()
        ]
        return float(tps[1]) if tps else 0.0, percentile(times, 99)

    def buffers(self) -> float:
        """Pages that the search reads, as the statement runs once it is prepared."""
        values = {**VALUES, "id": "gen_random_uuid()", "name": "'probe'", "gpus": "1"}
        values |= {"models": "ARRAY['m1']"}
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            plan = generic_plan(connection, "reserve_vessel", values)
        return pages(plan, "with_gpus")


def measure(bench: Bench) -> dict[str, float]:
    (bench.folder / "ours.pgb").write_text(cycle())
    bench.psql(HERE / "bare" / "schema.sql")
    figures: dict[str, float] = {}
    ratios: list[float] = []
    worst: list[float] = []
    buffers: list[float] = []
    for hosts in HOSTS:
        for kind in ("bare", "ours"):
            bench.load(kind, hosts)
        buffers.append(bench.buffers())
        for clients in CLIENTS:
            bare, _ = bench.pgbench("bare", clients)
            ours, p99 = bench.pgbench("ours", clients)
            print(
                f"{hosts} hosts, {clients} clients: bare {bare:.0f}/s, ours {ours:.0f}/s, "
                f"ratio {ours / bare:.2f}, p99 {p99:.1f} ms",
                flush=True,
            )
            ratios.append(ours / bare)
            worst.append(p99)
        for name, check in CHECKS.items():
            figures[name] = figures.get(name, 0) + float(bench.sql(check)[0][0])
    log = (bench.postgres.folder / "log").read_text()
    return {
        "ratio_to_bare": min(ratios),
        **figures,
        "deadlocks": float(log.count("deadlock detected")),
        "p99_ms": max(worst),
        "buffers_per_pick": max(buffers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reserve")
    parser.add_argument("--seconds", type=int, default=8, help="of each run (8)")
    seconds: int = parser.parse_args().seconds
    folder = Path(tempfile.mkdtemp(prefix="drc-bench-"))
    folder.chmod(0o755)
    user = "nobody" if os.geteuid() == 0 else None
    postgres = Postgres(folder / "postgres", user)
    try:
        postgres.start()
        migrate(postgres.url())
        figures = measure(Bench(postgres, folder, seconds))
    finally:
        postgres.stop()
        shutil.rmtree(folder)
    finish("reserve", figures, TARGETS)


if __name__ == "__main__":
    run(main)
