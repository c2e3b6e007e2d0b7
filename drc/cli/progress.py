"""The live lines of a vessel coming up, with seconds per phase."""

import shutil
import sys
from datetime import datetime
from typing import Any

import typer

from drc.cli.look import ordinal, say, shares, show_gpus, until
from drc.cli.sshconfig import command
from drc.machine import show_memory

# what each event ends, and what begins with it
PHASES = {
    "queued": ("queued", "waiting for GPUs"),
    "reserved": ("reserved", "waiting for a conductor"),
    "starting": ("taken", "looking for the image"),
    "image_ready": ("image", "making the container"),
    "home_came": ("home", "making the container"),
    "home_stays": ("home", "making the container"),
    "joined": ("address", "starting it"),
    "ssh_ready": ("ssh", "waiting for Jupyter"),
    "jupyter_ready": ("jupyter", "trying your key"),
    "running": ("running", ""),
}
MARKS = {"queued": "…", "home_stays": "!"}
WIDTH = 10


def waiting(vessel: dict[str, Any]) -> str:
    """Where a vessel stands in line and what it waits for; it may be served already."""
    if not vessel["position"]:
        return "for a moment"
    line = f"{ordinal(vessel['position'])} in line"
    reason = f"\n    waits for {vessel['waits_for'].rstrip('.')}." if vessel["waits_for"] else "."
    return f"{line}{reason}\n    It starts by itself; Ctrl-C leaves it waiting."


def home(vessel: dict[str, Any]) -> str:
    """What its owner finds there, where they have a home already."""
    if vessel["home_from"]:
        return f"your home comes from {vessel['home_from']}"
    old = [home for home in vessel["homes"] if not home["is_new"]]
    for one in old:
        if one["host"] == vessel["host"]:
            return "your home is here" + (f" ({show_memory(one['mib'])})" if one["mib"] else "")
    return f"new, empty home; yours is on {', '.join(one['host'] for one in old)}" if old else ""


def came(event: dict[str, Any]) -> str:
    """Of a home from another host."""
    if not event.get("from"):
        return "it came along before"
    size = f" ({show_memory(event['mib'])})" if event.get("mib") else ""
    folder = f", as ~/{event['folder']}, beside what you have here" if event.get("folder") else ""
    return f"yours of {event['from']} came along{size}{folder}"


class Progress:
    """Prints a line when a phase ends; on a terminal, what is going on now stands below it."""

    def __init__(self, vessel: dict[str, Any], *, quiet: bool = False) -> None:
        self.vessel = vessel
        self.quiet = quiet
        self.live = sys.stderr.isatty() and not quiet
        self.begun = datetime.fromisoformat(vessel["created_at"])
        self.last = self.begun
        self.pending = False
        self.building = False

    def begin(self) -> None:
        if not self.quiet:
            say(self.vessel["name"], bold=True)
        state = self.vessel["state"]
        self._now(PHASES[state][1] if state in PHASES else "")

    def build(self, event: dict[str, Any]) -> None:
        """A vessel image is made of another image, which takes minutes the first time."""
        where = f"building a vessel image on {self.vessel['host']}"
        if not self.building:
            self.building = True
            self._clear()
            say(f"  … {'building':<{WIDTH}}{'':8}   {where}; the next one is there at once")
        self._clear()
        step = f"step {event['step']}/{event['steps']}  " if event.get("steps") else ""
        room = shutil.get_terminal_size().columns - 5  # a line that wraps could not be cleared
        self._now(f"{where}: {step}{event.get('line', '')}"[: max(room, 10)])

    def bring(self, event: dict[str, Any]) -> None:
        """A home comes from another host, which may take minutes."""
        self._clear()
        whole = f" of {show_memory(event['mib'])}" if event.get("mib") else ""
        came = f": {show_memory(event['came_mib'])}{whole}" if event.get("came_mib") else whole
        self._now(f"bringing your home from {event['from']}{came}")

    def step(self, event: dict[str, Any]) -> None:
        if event["kind"] == "building" and not self.quiet:
            return self.build(event)
        if event["kind"] == "home_coming" and not self.quiet:
            return self.bring(event)
        if self.quiet or event["kind"] not in PHASES:
            return
        at = datetime.fromisoformat(event["at"])
        what, following = PHASES[event["kind"]]
        spent, self.last = (at - self.last).total_seconds(), at
        detail = self._detail(event)
        if event["kind"] == "running":
            spent = (at - self.begun).total_seconds()
        seconds = typer.style(f"{max(spent, 0):6.2f} s", dim=True)
        self._clear()
        mark = typer.style(MARKS.get(event["kind"], "✓"), fg="green")
        say(f"  {mark} {what:<{WIDTH}}{seconds}   {detail}".rstrip())
        self._now(following)

    def _detail(self, event: dict[str, Any]) -> str:
        vessel, name = self.vessel, self.vessel["name"]
        if event["kind"] in ("queued", "reserved"):
            from drc.cli.account import get

            asked = vessel["home_from"]  # it may have come by now
            vessel = self.vessel = {**get(f"/v1/vessels/{name}"), "home_from": asked}
        if event["kind"] == "queued":
            return waiting(vessel)
        if event["kind"] == "reserved":
            parts = [vessel["host"], show_gpus(vessel["gpus"]), shares(vessel), home(vessel)]
            return " · ".join(part for part in parts if part and part != "none")
        if event["kind"] == "image_ready":
            return vessel["image"]
        if event["kind"] == "home_came":
            return came(event)
        if event["kind"] == "home_stays":
            return f"it stays on {event['from']}, and you have another here: {event['reason']}"
        if event["kind"] == "joined":
            lost = event.get("instead_of")
            return event["address"] + (f", for somebody else has {lost} now" if lost else "")
        if event["kind"] == "ssh_ready":
            return typer.style(" ".join(command(name)), bold=True)
        if event["kind"] == "jupyter_ready":
            return f"drc jupyter {name}"
        if event["kind"] == "running":
            return f"since the request.  It ends in {until(vessel['ends_at'])}; your home stays."
        return ""

    def _now(self, text: str) -> None:
        if self.live and text:
            sys.stderr.write("  " + typer.style(f"· {text}", dim=True))
            sys.stderr.flush()
            self.pending = True

    def _clear(self) -> None:
        if self.pending:
            sys.stderr.write("\r\033[K")
            self.pending = False

    def close(self) -> None:
        self._clear()
