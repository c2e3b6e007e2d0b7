"""The shipped reservation and its release, beside the same design with nothing else in it.

Both run on one embedded Postgres of the bench's own, in turn, by pgbench: a cycle is a
reservation and its release, two durable commits. The floor is bench/bare (one row per GPU and a
counter); ours besides writes the GPU's history, the outbox row, owner, name and token, and answers
whether a miss was only contention. A release is `bury_vessel`, let in from `reserved`.
"""

import argparse
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.plan import generic_plan, pages
from bench.postgres import embedded
from bench.report import finish, p50, percentile, run
from drc.db import OPTIONS, statement
from drc.up.postgres import Postgres

HERE = Path(__file__).parent
HOSTS = (1_250, 10_000)
CLIENTS = (16, 64)
ROUNDS = 3  # of the floor and ours in turn: other work on the machine meets both
SIZES = (13, 125, 1_250, 12_500)  # hosts of eight GPUs: a hundred to a hundred thousand
BUSY = 0.85
TARGETS = {
    "ratio_to_bare": {"min": 0.85},
    "double_bookings": {"max": 0},
    "lost_gpus": {"max": 0},
    "deadlocks": {"max": 0},
    "p99_ms": {"max": 50},
    "buffers_per_pick": {"max": 50},
    "growth": {"max": 2},
}
AS_PREPARED = "-c plan_cache_mode=force_generic_plan"
"""As psycopg's run after their fifth time; pgbench's expressions would be planned each time."""

ID = "('00000000-0000-4000-8000-' || lpad(to_hex(:n::bigint), 12, '0'))::uuid"
VALUES = {
    "actor": """'{"who": "ada@example.org", "subject": "https://id.example.org|1234", "signer":
        "session", "token": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "address": "10.0.0.7",
        "request": "7c9e6679742540de944be07fc1f90ae7"}'""",
    "request": "'7c9e6679742540de944be07fc1f90ae7'",
    "id": ID,
    "owner_id": "(1 + :client_id)",
    "queues": "'{default}'",
    "name": "('v' || to_hex(:n::bigint))",
    "gpus": ":gpus",
    "models": "ARRAY['m' || :model]",
    "gpu_memory_mib": "1",
    "millicpus": "4000",
    "memory_mib": "32",
    "host_id": "NULL",
    "near_id": "NULL",
    "shm_mib": "NULL",
    "digest": "NULL",
    "image": "'drc/vessel'",
    "env": "'{}'",
    "lifetime": "'7 days'",
    "shape": ":n",
    "waits": "false",
    "token_hash": "'token'",
    "idempotency_key": "NULL",
    "request_hash": "''",
    "home_from": "NULL",
    "attempt": "1",
    "sources": "ARRAY['reserved']",
}
LOAD = """
TRUNCATE outbox, event, held, gpu, gpu_count, gpu_kind, home, vessel, berth, host, owner
  RESTART IDENTITY CASCADE;
SELECT setseed(0.42);
INSERT INTO owner (subject, login) SELECT 'o' || i, 'o' || i FROM generate_series(1, 64) i;
INSERT INTO gpu_kind (model, queues, whole)
  SELECT 'm' || i, '{{default}}', true FROM generate_series(0, 3) i;
INSERT INTO host (name, ssh_user, ssh_address, ssh_host_key, probed, committed, cpus, n_gpus,
                  millicpus, millicpus_free, memory_mib, memory_free_mib)
  SELECT 'h' || i, 'root', 'h' || i, 'x', true, true, 256, 8, 256000, 256000, 2048, 2048
  FROM generate_series(1, {hosts}) i;
INSERT INTO vessel (id, owner_id, name, state, gpus, image, lifetime, host_id, millicpus,
                    memory_mib, token_hash, request_hash, ends_at)
  SELECT ('10000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 1, 'busy' || i, 'running',
         0, 'x', '7 days', i, 0, 0, '', '', now() + interval '7 days'
  FROM generate_series(1, {hosts}) i;
INSERT INTO gpu (host_id, uuid, idx, name, model, memory_mib, vessel_id)
  SELECT i, i || '/' || g, g, 'x', 'm' || i % 4, (ARRAY[24576, 40960, 81920, 143360])[i % 4 + 1],
         CASE WHEN random() > {busy} THEN NULL
              ELSE ('10000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid END
  FROM generate_series(1, {hosts}) i, generate_series(0, 7) g;
INSERT INTO gpu_count (host_id, model, memory_mib, n_free, kind_id, open)
  SELECT host_id, g.model, memory_mib, count(*) FILTER (WHERE vessel_id IS NULL), k.id, true
  FROM gpu g JOIN gpu_kind k ON k.model = g.model GROUP BY 1, 2, 3, 5;
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
    # pgbench takes a colon before a word for a variable, in a quoted string too
    text = re.sub(r"'(\w+):(\w+)'", r"'\1' || chr(58) || '\2'", text)
    return re.sub(r"%\((\w+)\)s", lambda found: VALUES[found[1]], text).strip()


def cycle() -> str:
    # pgbench can branch on numbers only
    reserve = script("reserve_vessel").replace(
        "SELECT state FROM v", "SELECT (state = 'reserved')::int AS ok FROM v"
    )
    return (
        "\\set model random(0, 3)\n\\set gpus 1 + random(0, 3) / 3\n"
        "\\set n random(1, 140000000000000)\n"
        f"{reserve}\n\\gset\n"
        f"\\if :ok\n{script('bury_vessel')};\n\\endif\n"
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
        env = {**os.environ, "PGOPTIONS": f"{OPTIONS} {AS_PREPARED} -c lock_timeout=0"}
        done = subprocess.run(line, capture_output=True, text=True, cwd=self.folder, env=env)
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
        return float(tps[1]) if tps else 0.0, percentile(self.times(), 99)

    def times(self) -> list[float]:
        """Of each cycle of the last run, in milliseconds."""
        return [
            int(line.split()[2]) / 1000
            for log in self.folder.glob("pgbench_log*")
            for line in log.read_text().splitlines()
        ]

    def alone(self) -> float:
        """Milliseconds of one reservation with its release, without anybody else (p50)."""
        self.pgbench("ours", 1)
        return p50(self.times())

    def buffers(self) -> float:
        """Pages that the search reads, as the statement runs once it is prepared."""
        values = {
            **VALUES,
            "id": "gen_random_uuid()",
            "name": "'probe'",
            "gpus": "1",
            "owner_id": "1",
        }
        values |= {"models": "ARRAY['m1']", "shape": "1"}
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            plan = generic_plan(connection, "reserve_vessel", values)
        return pages(plan, "best")


def race(bench: Bench, hosts: int, clients: int) -> tuple[float, float, float]:
    """Ours over the floor, round by round, and the 99th percentile of both in milliseconds."""
    rounds: list[tuple[float, float]] = []
    slowest: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(ROUNDS):
        per_second: dict[str, float] = {}
        for kind in ("bare", "ours"):
            per_second[kind], p99 = bench.pgbench(kind, clients)
            slowest[kind].append(p99)
        rounds.append((per_second["bare"], per_second["ours"]))
    ratio = p50([ours / bare for bare, ours in rounds])
    bare_p99, ours_p99 = p50(slowest["bare"]), p50(slowest["ours"])
    print(
        f"{hosts} hosts, {clients} clients: bare {p50([r[0] for r in rounds]):.0f}/s "
        f"(p99 {bare_p99:.1f} ms), ours {p50([r[1] for r in rounds]):.0f}/s "
        f"(p99 {ours_p99:.1f} ms), ratio {ratio:.2f}",
        flush=True,
    )
    return ratio, bare_p99, ours_p99


def measure(bench: Bench) -> dict[str, float]:
    (bench.folder / "ours.pgb").write_text(cycle())
    bench.psql(HERE / "bare" / "schema.sql")
    figures: dict[str, float] = {}
    races: list[tuple[float, float, float]] = []
    for hosts in HOSTS:
        for kind in ("bare", "ours"):
            bench.load(kind, hosts)
        races += [race(bench, hosts, clients) for clients in CLIENTS]
        for name, check in CHECKS.items():
            figures[name] = figures.get(name, 0) + float(bench.sql(check)[0][0])
    alone: list[float] = []
    buffers: list[float] = []
    for hosts in SIZES:
        bench.load("ours", hosts)
        buffers.append(bench.buffers())
        alone.append(bench.alone())
        print(
            f"{hosts * 8} GPUs: {buffers[-1]:.0f} pages, {alone[-1]:.2f} ms (p50, one client)",
            flush=True,
        )
    log = (bench.postgres.folder / "log").read_text()
    return {
        "ratio_to_bare": min(ratio for ratio, _, _ in races),
        **figures,
        "deadlocks": float(log.count("deadlock detected")),
        "p99_ms": max(p99 for _, _, p99 in races),
        "p99_ms_of_bare": max(p99 for _, p99, _ in races),
        "buffers_per_pick": max(buffers),
        "growth": alone[-1] / alone[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reserve")
    parser.add_argument("--seconds", type=int, default=4, help="of each run (4)")
    seconds: int = parser.parse_args().seconds
    with embedded() as postgres:
        figures = measure(Bench(postgres, postgres.folder.parent, seconds))
    finish("reserve", figures, TARGETS)


if __name__ == "__main__":
    run(main)
