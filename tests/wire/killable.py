"""An installation of a test's own, whose API and Postgres may be killed at any moment."""

import contextlib
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg

from drc import fleet
from drc.config import package_folder
from drc.db import Database, migrate
from drc.errors import Unreachable
from drc.up.postgres import OWNER, Postgres
from tests.fleets import add_host, run_sql
from tests.installation import make_keys
from tests.wait import PATIENCE, wait_until
from tests.wire.served import Remote
from tests.wire.standin import StandIn

T = TypeVar("T")
PORTS = range(20000, 32000)
"""Below those that the kernel hands out by itself, so that the API finds its own free again."""
HELD = "held"
"""Kill while the deed's statement waits for a lock."""
WRITTEN = "written"
"""Kill once the deed has written something."""
Moment = int | str
"""HELD, WRITTEN, or after so many milliseconds."""

_WAITS = """
SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'vessel'::regclass
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE application_name = 'drc-api' AND datname = current_database()
"""


@dataclass
class Killable:
    postgres: Postgres
    remote: Remote
    folder: Path
    database: str = ""
    number: int = 0
    """Of the day, and of its owner."""
    is_clean: bool = False
    """Whether the last day ended with nothing left over."""
    process: subprocess.Popen[bytes] | None = None
    """The API."""
    orphans: set[int] = field(default_factory=set[int])
    """Backends of an API that was killed: what it had asked of them they still do."""
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def begin(self, hosts: dict[str, tuple[str, int]]) -> None:
        """A new day; in a database of its own if the last one left anything behind."""
        self.number += 1
        if self.is_clean:
            self.is_clean = False
            return
        self.close()
        self.database = f"d{self.number}"
        with psycopg.connect(self.postgres.url(database="postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self.database} TEMPLATE drc".encode())
        self.db = Database(self.postgres.url(OWNER, self.database), size=4)
        self.standin = StandIn(self.postgres, self.database, self.remote)
        for name, (model, count) in hosts.items():
            add_host(self.db, name, {model: count})
            work = fleet.claim_work(self.db, "begin", timedelta(minutes=1), [])
            assert work is not None
            assert fleet.finish_work(self.db, work["id"], "begin", work["generation"])
        self.start_api()

    def start_postgres(self) -> None:
        """As a child of ours, so that nobody else need bury it before it can be started again."""
        user = pwd.getpwnam(self.postgres.user) if self.postgres.user else None
        with (self.folder / "postgres.log").open("ab") as out:
            self.server = subprocess.Popen(
                [self.postgres.server / "bin" / "postgres", "-D", self.postgres.data],
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
                cwd="/",
                env={"LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_until(self.takes_connections, "Postgres is up")

    def takes_connections(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.postgres.url(database="postgres")).close()
            return True
        return False

    def start_api(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "drc.api"],
                env={
                    "PATH": os.environ["PATH"],
                    "LANG": "C.UTF-8",
                    "DRC_DATABASE_URL": self.postgres.url("drc_api", self.database),
                    "DRC_KEYS": str(self.remote.keys),
                    "DRC_SECRET": str(self.remote.keys / "secret"),
                    "DRC_PORT": self.remote.url.rpartition(":")[2],
                },
                cwd=package_folder("drc").parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.wait_for_api()

    @property
    def log(self) -> Path:
        return self.folder / "api.log"

    def wait_for_api(self) -> None:
        wait_until(self.is_healthy, "the API is up, and finds its database")

    def is_healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.remote.url + "/health", trust_env=False).status_code == 200
        return False

    def kill_api(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def kill_postgres(self) -> None:
        """All of it at once: the first of its processes is halted, and makes no others."""
        first = self.server.pid
        self.server.send_signal(signal.SIGSTOP)
        others = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        self.server.kill()
        self.server.wait()
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, others)), "Postgres is dead")

    def kill(self, victim: str) -> None:
        if victim == "postgres":
            self.kill_postgres()
        else:
            self.orphans = {row["pid"] for row in run_sql(self.db, _BACKENDS)}
            self.kill_api()

    def crash(self, victim: str, moment: Moment, deed: Callable[[], T]) -> T | Unreachable:
        """Kill the victim while the deed is under way, and start it again.

        Returns what came of the deed, as far as anybody was told.
        """
        with self.held() if moment == HELD else contextlib.nullcontext():
            before = self.count_events()
            done = self.thread.submit(caught(deed))
            if moment == HELD:
                self.wait_for(done, lambda: bool(run_sql(self.db, _WAITS)))
            elif moment == WRITTEN:
                self.wait_for(done, lambda: self.count_events() != before)
            else:
                wait([done], timeout=int(moment) / 1000)
            self.kill(victim)
            if victim == "postgres":
                self.start_postgres()
                self.wait_for_api()
            else:
                self.start_api()
        return done.result(timeout=PATIENCE)

    @contextmanager
    def held(self) -> Generator[None]:
        """No vessel can be written meanwhile."""
        connection = psycopg.connect(self.postgres.url(OWNER, self.database))
        connection.execute("LOCK TABLE vessel IN SHARE MODE")
        try:
            yield
        finally:
            with contextlib.suppress(psycopg.OperationalError):  # Postgres was killed meanwhile
                connection.rollback()
            connection.close()

    def wait_for(self, done: "Future[Any]", happened: Callable[[], bool]) -> None:
        wait_until(lambda: done.done() or happened(), "the deed is under way")

    def count_events(self) -> int:
        return run_sql(self.db, "SELECT coalesce(max(id), 0) AS n FROM event")[0]["n"]

    def wait_for_orphans(self) -> None:
        """What a killed API had asked of Postgres is done, or was rolled back."""

        def gone() -> bool:
            return not self.orphans & {row["pid"] for row in run_sql(self.db, _BACKENDS)}

        if self.orphans:
            wait_until(gone, "the backends of the API that was killed have ended")
        self.orphans = set()

    def let_leases_run_out(self) -> None:
        past = "UPDATE outbox SET lease_until = now() - interval '1 s' WHERE lease_until > now()"
        run_sql(self.db, past)

    def stop_the_clocks(self) -> None:
        """So that the API's sweep gives up nobody because this machine is slow."""
        run_sql(
            self.db, "UPDATE vessel SET state_since = now(), image_ready_at = now() WHERE living"
        )

    def close(self) -> None:
        self.kill_api()
        if self.database:
            self.standin.close()
            self.db.close()
            with psycopg.connect(self.postgres.url(database="postgres"), autocommit=True) as admin:
                admin.execute(f"DROP DATABASE {self.database} WITH (FORCE)".encode())
            self.database = ""


def is_alive(pid: str) -> bool:
    """Whether it still holds memory: one that waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def caught(deed: Callable[[], T]) -> Callable[[], T | Unreachable]:
    """The deed, with an answer that got lost as its result."""

    def do() -> T | Unreachable:
        try:
            return deed()
        except Unreachable as lost:
            return lost

    return do


def free_port() -> int:
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.choice(PORTS)
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def killable() -> Generator[Killable]:
    user = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="drc-killable-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        keys = folder / "keys"
        keys.mkdir()
        make_keys(keys)
        postgres = Postgres(folder / "postgres", user)
        postgres.start()
        migrate(postgres.url())
        postgres.stop()
        remote = Remote(f"http://127.0.0.1:{free_port()}", keys)
        world = Killable(postgres, remote, folder)
        world.start_postgres()
        try:
            yield world
        finally:
            world.close()
            world.thread.shutdown()
            postgres.stop()
            world.server.wait(timeout=PATIENCE)
