"""A Prometheus of drc's own, for `drc up --metrics`: the distribution's, on loopback, in the state
folder. It scrapes this machine's dcgm-exporter, and what plays the use of simulated GPUs.
"""

import os
import pwd
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx

from drc.errors import MetricsUnreachable
from drc.up.state import USER, Choices, State, read_pid

KEPT = "30d"
READY_TIMEOUT = 30.0  # seconds
EVERY = "15s"
CONFIGURATION = """\
global:
  scrape_interval: {every}
scrape_configs:
  - job_name: dcgm-exporter
    static_configs: [{{targets: ["127.0.0.1:{exporter}", "127.0.0.1:9400"]}}]
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
    data = state.path("prometheus", "data")
    data.mkdir(mode=0o755, parents=True, exist_ok=True)
    if os.geteuid() == 0:  # what we write ourselves lies beside it, where that user cannot
        user = pwd.getpwnam(USER)
        os.chown(data, user.pw_uid, user.pw_gid)
    said = CONFIGURATION.format(every=every, exporter=ports(choices)[1])
    state.path("prometheus", "prometheus.yml").write_text(said)
    pid = read_pid(state.path("run", "prometheus.pid"))
    if pid and str(state.folder) in Path(f"/proc/{pid}/cmdline").read_text():
        os.kill(pid, signal.SIGHUP)


def command(state: State, choices: Choices) -> list[str]:
    folder = state.path("prometheus")
    return [
        shutil.which("prometheus") or "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--web.listen-address=127.0.0.1:{ports(choices)[0]}",
        "--log.level=warn",
    ]


def wait_for(state: State, choices: Choices) -> None:
    """Raises MetricsUnreachable."""
    deadline = time.monotonic() + READY_TIMEOUT
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url(choices)}/-/ready", trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise MetricsUnreachable(
        "Our Prometheus did not come up.", hint=f"See {state.path('log', 'prometheus.log')}."
    )
