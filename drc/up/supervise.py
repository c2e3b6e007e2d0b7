"""Keeps an installation's programs running: Postgres, sshd, API, conductor, undertaker.

`python -m drc.up.supervise STATE`, started by `drc up` in a session of its own. With systemd one
would rather use the units in deploy/; this works where there is none.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from drc.config import BUILD_ENVIRONMENT, is_heard
from drc.errors import DrcError
from drc.log import begin
from drc.up import prometheus
from drc.up.postgres import Postgres
from drc.up.state import USER, Choices, State

ROUND = 30 * 60  # seconds between two rounds of the undertaker
LOOK = 60  # and between two of its looks at the fleet's health, where it has eyes or a voice
CHANNELS = ("DRC_SLACK_TOKEN", "DRC_SMTP_URL", "DRC_WEBHOOK_URL")
RESTART = (0.2, 10.0)  # seconds: the first pause before a restart, and the longest
STOP_TIMEOUT = 8.0
POSTGRES_PAUSE = 2.0  # seconds between two looks whether PostgreSQL is up

log = logging.getLogger("drc.up")


@dataclass(slots=True)
class Program:
    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict[str, str])
    as_root: bool = False
    every: float | None = None
    """A round that ends by itself, begun again after so many seconds."""


def programs(state: State, choices: Choices, postgres: Postgres) -> list[Program]:
    python, url = sys.executable, f"http://127.0.0.1:{choices.port}"
    keys = state.path("keys")
    api = {
        "DRC_DATABASE_URL": postgres.url("drc_api"),
        "DRC_KEYS": str(keys),
        "DRC_SECRET": str(keys / "secret"),
        "DRC_PORT": str(choices.port),
        **state.login(),
    }
    conductor = {
        "DRC_DATABASE_URL": postgres.url("drc_conductor"),
        "DRC_URL": url,
        "DRC_SIGNING_KEY": str(keys / "conductor.pem"),
        "DRC_SSH_KEY": str(state.path("ssh", "conductor_ed25519")),
        "DRC_CONDUCTOR": "here",
        "DRC_BERTHS": str(choices.berths),
        "DRC_METRICS_LISTEN": f"127.0.0.1:{prometheus.conductor_port(choices)}",
        **state.tailnet(),
        **{name: os.environ[name] for name in BUILD_ENVIRONMENT if name in os.environ},
    }
    undertaker = {
        "DRC_DATABASE_URL": postgres.url("drc_undertaker"),
        "DRC_URL": url,
        "DRC_SIGNING_KEY": str(keys / "undertaker.pem"),
        **state.idle(),
    }
    if choices.metrics:
        undertaker.setdefault("DRC_PROMETHEUS_URL", prometheus.url(choices))
    if "DRC_PROMETHEUS_URL" in undertaker:
        api["DRC_PROMETHEUS_URL"] = undertaker["DRC_PROMETHEUS_URL"]
    exporter = [python, "-m", "drc.up.exporter", str(prometheus.ports(choices)[1]),
                str(prometheus.usage_file(state))]  # fmt: skip
    measuring = [
        Program("prometheus", prometheus.command(state, choices)),
        Program("exporter", exporter, {"DRC_DATABASE_URL": postgres.url("drc_undertaker")}),
    ]
    look = [Program("look", [python, "-m", "undertaker.main", "look"], undertaker, every=LOOK)]
    looks = any(name in undertaker for name in (*CHANNELS, "DRC_PROMETHEUS_URL"))
    listener = [Program("listener", [python, "-m", "undertaker.main", "listen"], undertaker)]
    sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", str(state.path("ssh", "sshd_config"))]
    return [
        Program("sshd", sshd, as_root=True),
        Program("api", [python, "-m", "drc.api"], api),
        Program("conductor", [python, "-m", "conductor.main"], conductor),
        Program("undertaker", [python, "-m", "undertaker.main"], undertaker, every=ROUND),
        *(look if looks else []),
        *(listener if is_heard(undertaker) else []),
        *(measuring if choices.metrics else []),
    ]


class Supervisor:
    def __init__(self, state: State, programs: list[Program], postgres: Postgres) -> None:
        self.state = state
        self.programs = programs
        self.postgres = postgres
        self.ended = threading.Event()

    def start(self, program: Program) -> subprocess.Popen[bytes]:
        user = None if program.as_root or os.geteuid() != 0 else USER
        with self.state.path("log", f"{program.name}.log").open("ab") as out:
            return subprocess.Popen(
                program.command,
                env={
                    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "LANG": "C.UTF-8",
                    "PYTHONUNBUFFERED": "1",
                    "DRC_LOG_LEVEL": os.environ.get("DRC_LOG_LEVEL", ""),
                    **{key: os.environ[key] for key in os.environ if key.startswith("OTEL_")},
                    **program.env,
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                user=user,
                group=user,
                extra_groups=[] if user else None,
                start_new_session=True,
            )

    def keep(self, program: Program) -> None:
        """Run a program again and again until we end."""
        pause = RESTART[0]
        while not self.ended.is_set():
            begun = time.monotonic()
            process = self.start(program)
            self.state.path("run", f"{program.name}.pid").write_text(str(process.pid))
            while process.poll() is None and not self.ended.is_set():
                self.ended.wait(0.1)
            if process.poll() is None:
                self.end(process)
                break
            if program.every is not None:
                self.ended.wait(program.every)
                continue
            if time.monotonic() - begun > 60:
                pause = RESTART[0]
            log.warning(
                "%s ended with %s; again in %.1f s", program.name, process.returncode, pause
            )
            self.ended.wait(pause)
            pause = min(pause * 2, RESTART[1])

    def keep_postgres(self) -> None:
        """It is a daemon of its own, started before us; one that died is started again."""
        while not self.ended.wait(POSTGRES_PAUSE):
            try:
                if not self.postgres.is_up():
                    log.warning("PostgreSQL is down; it is started")
                    self.postgres.start()
            except (DrcError, OSError) as failed:
                log.warning("%s", failed)  # its last processes still end: again in a moment

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def run(self) -> None:
        threads = [
            threading.Thread(target=self.keep, args=(program,), name=program.name)
            for program in self.programs
        ]
        threads.append(threading.Thread(target=self.keep_postgres, name="postgres"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def main() -> None:
    begin()
    state = State(Path(sys.argv[1]))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it; packages make it at boot
    postgres = Postgres(state.path("postgres"), USER)
    supervisor = Supervisor(state, programs(state, state.choices(), postgres), postgres)

    def end(_: int, __: object) -> None:
        supervisor.ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    state.path("run", "supervisor.pid").write_text(str(os.getpid()))
    supervisor.run()
    for program in (*supervisor.programs, None):
        name = program.name if program else "supervisor"
        state.path("run", f"{name}.pid").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
