"""A Prometheus of drc's own, for `drc up --metrics`: the distribution's, on loopback, in the state
folder, with the configuration, rules and alerts of deploy/monitoring. It asks the API what to
scrape, and also scrapes what plays the use of simulated GPUs.
"""

import os
import pwd
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx

from drc.client import Client
from drc.config import package_folder
from drc.errors import MetricsUnreachable, NoSuchToken, NotSignedIn
from drc.up.state import USER, Choices, State, read_pid

KEPT = "30d"
READY_TIMEOUT = 30.0  # seconds
EVERY = "15s"
FILES = ("rules.yml", "alerts.yml")
TOKEN = "drc-up-prometheus"  # noqa: S105
"""What its token is called among those of whoever ran `drc up`."""
MAY = ["targets:read", "metrics:read"]
GPUS = "  - job_name: dcgm\n"
SIMULATED = """\
    scrape_interval: {every}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def ports(choices: Choices) -> tuple[int, int]:
    """Prometheus' and the exporter's: the next two after the API's."""
    return choices.port + 1, choices.port + 2


def conductor_port(choices: Choices) -> int:
    """Where the conductor tells its metrics, on loopback."""
    return choices.port + 3


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
    deployed = package_folder("deploy") / "monitoring"
    for name in FILES:
        state.path("prometheus", name).write_text((deployed / name).read_text())
    said = configuration((deployed / "prometheus.yml").read_text(), choices, every)
    state.path("prometheus", "prometheus.yml").write_text(said)
    pid = read_pid(state.path("run", "prometheus.pid"))
    if pid and str(state.folder) in Path(f"/proc/{pid}/cmdline").read_text():
        os.kill(pid, signal.SIGHUP)


def configuration(deployed: str, choices: Choices, every: str) -> str:
    """The deployed one, for this machine. `every`: how often simulated GPUs are measured."""
    own, simulated = ports(choices)
    return (
        deployed.replace("127.0.0.1:8787", f"127.0.0.1:{choices.port}")
        .replace("127.0.0.1:9090", f"127.0.0.1:{own}")
        .replace(GPUS, GPUS + SIMULATED.format(every=every, port=simulated))
    )


def ensure_token(state: State, client: Client) -> None:
    """A token of its own, which opens two routes, in a file that only Prometheus reads."""
    file = state.path("prometheus", "drc.token")
    if file.exists() and is_good(client.url, file.read_text()):
        return
    with suppress(NoSuchToken):
        client.call("DELETE", f"/v1/tokens/{TOKEN}")
    wanted = {"name": TOKEN, "permissions": MAY, "life": "366d"}
    made = client.call("POST", "/v1/tokens", wanted)["token"]
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    if os.geteuid() == 0:
        os.chown(file, pwd.getpwnam(USER).pw_uid, -1)
    file.write_text(made)


def is_good(url: str, token: str) -> bool:
    client = Client(url, lambda: token)
    try:
        client.call("GET", "/v1/targets/drc")
    except NotSignedIn:
        return False
    finally:
        client.close()
    return True


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
