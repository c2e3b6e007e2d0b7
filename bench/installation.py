"""The drc that runs on this machine, and its berths: how many wait, and taking them away."""

import json
import os
import time
from pathlib import Path
from typing import Any

import docker

from conductor.wanted import BERTH, INSTALLATION, VESSEL, Names
from drc import fleet
from drc.db import Database
from drc.errors import Misconfigured, Unreachable
from drc.up.postgres import Postgres
from drc.up.state import DEFAULT_STATE, USER, Choices

PATIENCE = 60.0
QUIET = 0.5  # seconds for the engine to finish with what a round before left behind


class Installation:
    """Read from its state folder, which only root may. Raises Misconfigured."""

    def __init__(self) -> None:
        folder = Path(os.environ.get("DRC_STATE", DEFAULT_STATE))
        try:
            self.choices = Choices(**json.loads((folder / "choices.json").read_text()))
            url = Postgres(folder / "postgres", USER).url("drc_conductor")
        except OSError as failed:
            raise Misconfigured(
                f"This needs a drc on this machine, and root: {failed}", hint="sudo drc up"
            ) from failed
        if not self.choices.berths:
            raise Misconfigured(f"{folder} wants no waiting berths, which are measured here.")
        os.environ["DOCKER_HOST"] = f"unix://{self.choices.docker_socket}"
        self.engine: Any = docker.APIClient(base_url=os.environ["DOCKER_HOST"], version="1.41")
        self.db = Database(url, size=1, name="drc-bench")
        self.names = Names(fleet.read_installation(self.db))
        (self.host_id,) = (row["id"] for row in fleet.read_host_doors(self.db))

    def waiting(self) -> list[int]:
        rows = fleet.list_berths(self.db, self.host_id)
        return [row["number"] for row in rows if row["vessel_id"] is None and row["ready"]]

    def settle(self) -> None:
        """Until every berth that should wait does, and no vessel of a round before is left."""
        deadline = time.monotonic() + PATIENCE
        while len(self.waiting()) < self.choices.berths or self.leaving():
            if time.monotonic() > deadline:
                raise Unreachable("The conductor does not refill its berths.", hint="drc up")
            time.sleep(0.05)
        time.sleep(QUIET)

    def leaving(self) -> bool:
        """Whether a berth outlives its vessel, as for a moment it does."""
        vessels = {str(row["id"]) for row in fleet.read_vessels_on_host(self.db, self.host_id)}
        rows = fleet.list_berths(self.db, self.host_id)
        return any(row["vessel_id"] and str(row["vessel_id"]) not in vessels for row in rows)

    def take_berths(self) -> None:
        """Rows and containers of the waiting berths, as if a burst had just used them up."""
        for number in self.waiting():
            fleet.remove_berth(self.db, self.host_id, number)
            self.engine.remove_container(self.names.berth(number), force=True, v=True)

    def moments(self, vessel_id: str, since: float, until: float) -> dict[str, list[float]]:
        """When the engine had done what, for this vessel (`container …`) and for any berth.

        From the engine's own events: `create`, `extract-to-dir` (the archive API), `start`.
        """
        ours = {"type": "container", "label": f"{INSTALLATION}={self.names.installation}"}
        found: dict[str, list[float]] = {}
        span = {"since": f"{since:.9f}", "until": f"{until:.9f}"}
        for event in self.engine.events(filters=ours, decode=True, **span):
            labels = event["Actor"]["Attributes"]
            if labels.get(VESSEL) not in (None, vessel_id):
                continue
            what = "berth" if BERTH in labels else "container"
            found.setdefault(f"{what} {event['Action']}", []).append(event["timeNano"] / 1e9)
        return found

    def pid(self, vessel_id: str) -> int:
        """Of the vessel's first process."""
        container = self.names.vessel(vessel_id, 1)
        return int(self.engine.inspect_container(container)["State"]["Pid"])
