"""An installation whose every program can be killed: Postgres, API, conductor, engine and sshd.

Each is a process of its own on this machine. The killing is SIGKILL; what a supervisor would do
then, starting it again, is done here.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg_pool import PoolTimeout

from drc.db import migrate
from drc.errors import DrcError, Refused
from drc.up.postgres import Postgres
from tests.fleets import check_conservation
from tests.host.machine import Machine, descendants, kill, until
from tests.host.world import SMALL, Person, World

VICTIMS = ("conductor", "api", "postgres", "engine", "sshd")
DOWN = (DrcError, httpx.HTTPError, psycopg.Error, PoolTimeout)
"""How it looks when a program that is asked has just been killed."""
RECOVERY = 60.0
"""Seconds within which all must be true again; the bench says how long it takes."""


class Hard(World):
    def __init__(self, machine: Machine, postgres: Postgres, folder: Path, berths: int) -> None:
        super().__init__(machine, postgres, "drc", folder, 25000)
        self.berths = berths
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    # Programs ---------------------------------------------------------------------------------

    def start(self, program: str, *module: str, **env: str) -> None:
        """`module`: another program in the conductor's place."""
        if program == "postgres":
            until("Postgres", self._start_postgres)
        elif program == "engine":
            self.machine.start_engine()
        elif program == "sshd":
            self.machine.start_sshd()
        elif program == "api":
            self._start("api", "drc.api", **self._api())
            until("the API", self._answers)
        else:
            self._start("conductor", *(module or ("conductor.main",)), **self._conductor(), **env)

    def kill(self, program: str) -> None:
        if program == "postgres":
            pid = int((self.postgres.data / "postmaster.pid").read_text().split()[0])
            kill(pid, *descendants(pid))
        elif program == "engine":
            self.machine.end_engine(signal.SIGKILL)
        elif program == "sshd":
            self.machine.end_sshd()
        else:
            process = self.processes.pop(program)
            process.kill()
            process.wait()

    def end(self) -> None:
        for program in list(self.processes):
            self.kill(program)

    def _start(self, name: str, *module: str, **env: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *module], env={**os.environ, **env}, stdout=log, stderr=log
            )

    def _start_postgres(self) -> bool:
        with contextlib.suppress(DrcError, psycopg.Error):  # the killed one's processes still end
            self.postgres.start()
            psycopg.connect(self.postgres.url()).close()
            return True
        return False

    def _answers(self) -> bool:
        assert self.processes["api"].poll() is None, (self.folder / "api.log").read_text()[-2000:]
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health", timeout=5).status_code < 500
        return False

    def _api(self) -> dict[str, str]:
        return {
            "DRC_DATABASE_URL": self.postgres.url("drc_api"),
            "DRC_KEYS": str(self.folder),
            "DRC_SECRET": str(self.folder / "secret"),
            "DRC_PORT": str(self.port),
        }

    def _conductor(self) -> dict[str, str]:
        return {
            "DRC_DATABASE_URL": self.postgres.url("drc_conductor"),
            "DRC_URL": self.url,
            "DRC_SIGNING_KEY": str(self.folder / "conductor.pem"),
            "DRC_SSH_KEY": str(self.machine.key),
            "DRC_BERTHS": str(self.berths),
            "DRC_CONDUCTOR": "hard",
        }

    # What must be true ------------------------------------------------------------------------

    def patiently(self, ask: Callable[[], Any]) -> Any:
        """An answer, however often it must be asked for while programs come back. Raises Refused,
        which is one.
        """
        deadline = time.monotonic() + RECOVERY
        while True:
            try:
                return ask()
            except Refused:
                raise
            except DOWN:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def create(self, person: Person, name: str, key: str, **wish: Any) -> dict[str, Any]:
        """Ask until there is an answer, with one key: whatever dies, it is one vessel."""
        body = {"name": name, **SMALL, **wish}
        headers = {"Idempotency-Key": key}
        return self.patiently(
            lambda: person.client.call("POST", "/v1/vessels", body, headers=headers)
        )

    def falsehoods(self) -> list[str]:
        """What differs between the books and the machine; nothing while work is on its way."""
        wrong: list[str] = []
        due = self.sql("SELECT verb, tries, trouble FROM outbox")
        if due:
            return [f"on its way: {w['verb']}, try {w['tries']}: {w['trouble']}" for w in due]
        rows = self.sql("SELECT id::text, state, attempt FROM vessel WHERE living AND NOT waiting")
        wrong += [f"{row['id']} is {row['state']}" for row in rows if row["state"] != "running"]
        running = {c["Names"][0][1:] for c in self.ours("drc.vessel") if c["State"] == "running"}
        there = {c["Names"][0][1:] for c in self.ours("drc.vessel")}
        booked = {f"drc-{row['id']}-{row['attempt']}" for row in rows}
        wrong += [f"the container {name} has no vessel" for name in there - booked]
        wrong += [f"the vessel of {name} has no container" for name in booked - running]
        berths = self.sql("SELECT number, ready OR vessel_id IS NOT NULL AS made FROM berth")
        made = self.berths_made()
        wrong += [f"berth {n} has no row" for n in made - {row["number"] for row in berths}]
        # a row comes before its container, and one whose making was cut off goes after a while
        wrong += [f"berth {n} is gone" for n in {r["number"] for r in berths if r["made"]} - made]
        label = f"drc.installation={self.installation()}"
        found = self.machine.client.volumes(filters={"label": [label, "drc.vessel"]})["Volumes"]
        volumes = {volume["Name"].replace("drc-run-", "drc-") for volume in found or []}
        wrong += [f"the run volume {name} differs" for name in volumes ^ booked]
        return wrong

    def untrue(self, seconds: float = RECOVERY) -> list[str]:
        """What still differs between the books and the machine after so long; mostly nothing."""
        last = ["nobody answers"]

        def agree() -> bool:
            with contextlib.suppress(*DOWN):
                last[:] = self.falsehoods()
            return not last

        deadline = time.monotonic() + seconds
        while not agree() and time.monotonic() < deadline:
            time.sleep(0.05)
        return last

    def becomes_true(self, seconds: float = RECOVERY) -> None:
        """Until the books and the machine agree, and every GPU is free or one vessel's."""
        wrong = self.untrue(seconds)
        assert not wrong, (wrong, (self.folder / "conductor.log").read_text()[-3000:])
        check_conservation(self.db)

    def key(self) -> str:
        return uuid.uuid4().hex


@contextlib.contextmanager
def hard_world(machine: Machine, folder: Path, *, berths: int = 0) -> Generator[Hard]:
    """With all of its programs up, and the machine as its open host gpu1."""
    user = "nobody" if os.geteuid() == 0 else None
    # on a disk, since what is written must outlive the server
    data = Path(tempfile.mkdtemp(prefix="drc-pg-", dir="/var/tmp"))
    if user:
        os.chown(data, pwd.getpwnam(user).pw_uid, -1)
    postgres = Postgres(data, user)
    postgres.start()
    try:
        migrate(postgres.url())
        hard = Hard(machine, postgres, folder, berths)
        try:
            # the homes of other installations lie on the machine, where a uid is one person
            hard.sql("ALTER SEQUENCE owner_uid RESTART 50000")
            hard.start("api")
            hard.start("conductor")
            hard.add_host(hard.person("ada"))
            until("the host is open", lambda: hard.host()["open"])
            yield hard
        finally:
            hard.end()
            hard.db.close()
            for person in hard.people.values():
                person.client.close()
    finally:
        postgres.stop()
        shutil.rmtree(data)
