"""A Prometheus of drc's own, for `drc up --metrics`: the distribution's, on loopback, in the state
folder. It scrapes the API, and what plays the use of simulated GPUs.
"""

import os
import pwd
import signal
from pathlib import Path

from drc.up.state import USER, Choices, State, read_pid

KEPT = "30d"
EVERY = "15s"
CONFIGURATION = """\
global:
  scrape_interval: {every}
scrape_configs:
  - job_name: dcgm-exporter
    static_configs: [{{targets: ["127.0.0.1:{exporter}"]}}]
"""


def ports(choices: Choices) -> tuple[int, int]:
    """Prometheus' and the exporter's: the next two after the API's."""
    return choices.port + 1, choices.port + 2


def url(choices: Choices) -> str:
    return f"http://127.0.0.1:{ports(choices)[0]}"


def usage_file(state: State) -> Path:
    """How busy simulated GPUs are; whoever writes it plays their use."""
    return state.path("prometheus", "usage.json")


def configure(state: State, choices: Choices, every: str = EVERY) -> None:
    """Also while it runs: it reads it again."""
    folder = state.path("prometheus")
    folder.mkdir(mode=0o755, exist_ok=True)
    if os.geteuid() == 0:
        user = pwd.getpwnam(USER)
        os.chown(folder, user.pw_uid, user.pw_gid)
    said = CONFIGURATION.format(every=every, exporter=ports(choices)[1])
    state.path("prometheus", "prometheus.yml").write_text(said)
    pid = read_pid(state.path("run", "prometheus.pid"))
    if pid:
        os.kill(pid, signal.SIGHUP)


def command(state: State, choices: Choices) -> list[str]:
    folder = state.path("prometheus")
    return [
        "/usr/bin/prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--web.listen-address=127.0.0.1:{ports(choices)[0]}",
        "--log.level=warn",
    ]
