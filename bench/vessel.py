"""One vessel of ours, timed: asked for and followed with the command line's own functions."""

import threading
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

from bench.floor import CPUS, MEMORY_MIB, SHM_MIB
from bench.installation import Installation
from bench.tries import first_200, first_ssh
from drc.cli import sshconfig
from drc.cli.account import client, get
from drc.cli.create import events_of, follow, send
from drc.errors import DrcError, StartFailed

PREFIX = "drc-bench-"
ADDRESS_PATIENCE = 30.0


class Follower(threading.Thread):
    """`drc create`'s following of the vessel, SSH configuration included; it notes the moments."""

    def __init__(self, vessel: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.vessel = vessel
        self.moments: dict[str, float] = {}
        self.addressed = threading.Event()
        self.failed: DrcError | None = None

    def run(self) -> None:
        try:
            follow(self.vessel, self)
        except DrcError as failed:
            self.failed = failed
            self.addressed.set()

    def step(self, event: dict[str, Any]) -> None:
        """What the progress display is told; after `image_ready` the configuration is written."""
        self.moments[event["kind"]] = datetime.fromisoformat(event["at"]).timestamp()
        if event["kind"] == "image_ready":
            self.moments["configured"] = time.time()
            self.addressed.set()

    def finish(self) -> dict[str, float]:
        self.join(ADDRESS_PATIENCE)
        if self.failed or "running" not in self.moments:
            raise self.failed or StartFailed(f"{self.vessel['name']} did not come up.")
        return self.moments


def measure(here: Installation, name: str) -> dict[str, float]:
    """Seconds from sending the request to each moment. The vessel is gone afterwards.

    Jupyter is asked once ssh is in, which is earlier than it can answer.
    """
    request = {
        "name": PREFIX + name,
        "gpus": 0,
        "cpus": CPUS,
        "memory": f"{MEMORY_MIB}MiB",
        "shm": f"{SHM_MIB}MiB",
        "lifetime": "1h",
    }
    begun = time.time()
    vessel = send(request)
    answered = time.time()
    follower = Follower(vessel)
    follower.start()
    if vessel["state"] == "queued":
        raise StartFailed("There is no room for another vessel here.", hint="drc list")
    if not follower.addressed.wait(ADDRESS_PATIENCE) or follower.failed:
        raise follower.failed or StartFailed("Its address did not come.", hint="drc events")
    ssh, *where = sshconfig.command(vessel["ssh"]["alias"])
    entered = first_ssh([ssh, "-o", "BatchMode=yes", *where])
    token = get(f"/v1/vessels/{vessel['name']}/jupyter")["token"]
    jupyter = first_200(here.pid(vessel["id"]), token)
    moments = follower.finish()
    engine = here.moments(vessel["id"], begun, entered)
    # twice the same says that the conductor made a berth for somebody else meanwhile
    moments |= {kind: times[0] for kind, times in engine.items() if len(times) == 1}
    moments |= {"answered": answered, "ssh": entered, "jupyter": jupyter}
    stop(vessel)
    return {kind: at - begun for kind, at in moments.items()}


def stop(vessel: dict[str, Any]) -> None:
    client().call("POST", f"/v1/vessels/{vessel['name']}/stop")
    for event in events_of(vessel):
        if event["kind"] in ("buried", "failed"):
            break
    sshconfig.sync()


def sweep() -> None:
    """End what is left of a run that was cut off."""
    for vessel in get("/v1/vessels"):
        if vessel["name"].startswith(PREFIX):
            with suppress(DrcError):  # it was ending already, and did
                stop(vessel)
    sshconfig.sync()
