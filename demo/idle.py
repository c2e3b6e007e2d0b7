"""`make demo-idle`: a day of an idle vessel, with a work hour in a second.

Everything is real but the GPUs and the pace: the vessel, its burial and the image of what was in
it; Prometheus and what it scrapes; the rounds, the verdicts and the messages.
"""

import argparse
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel

from drc import fleet
from drc.auth import Signer
from drc.client import Client
from drc.db import Database, Row
from drc.errors import DrcError, MetricsUnreachable, Misconfigured
from drc.program import Program
from drc.up import exporter, prometheus
from drc.up.postgres import Postgres
from drc.up.state import USER, State
from undertaker.channel import deliver
from undertaker.message import Message
from undertaker.policy import File, Policies
from undertaker.round import run_once
from undertaker.usage import Prometheus

HOUR = 1 / 3600  # of what policies call an hour
BUSY = 4  # seconds of training at the beginning
PAUSE = 0.5  # between two rounds
LONGEST = 120  # seconds for the whole play
YOU = "you"

console = Console(highlight=False)


class Screen:
    """The channel: a terminal on which its owner sees messages and can click."""

    def __init__(self) -> None:
        self.last: Message | None = None

    def send(self, message: Message) -> None:
        self.last = message
        lines = list(message.lines)
        if message.kind != "buried":
            labels = (f"[reverse] {button['text']['text']} [/]" for button in message.buttons())
            lines += ["", "  ".join(labels)]
        text = "\n".join(lines)
        console.print(Panel(text, title=f"[bold]{message.title}", title_align="left"))

    def recipient(self, message: Message) -> str:
        return YOU

    def has(self, message: Message) -> bool:
        return self.last is not None and self.last.id == message.id


class Play:
    def __init__(self, state: State, owner: str, vessel: str) -> None:
        self.choices = state.choices()
        if not self.choices.metrics or not state.path("run", "prometheus.pid").exists():
            raise Misconfigured("This drc measures nothing.", hint="drc up --metrics")
        self.state, self.vessel = state, vessel
        url = Postgres(state.path("postgres"), USER).url("drc_undertaker")
        self.db = Database(url, size=2, name="drc-demo")
        signer = Signer.load(state.path("keys", "undertaker.pem"))
        api, clock = f"http://127.0.0.1:{self.choices.port}", partial(fleet.read_now, self.db)
        self.client: Client = Program(api, signer, "undertaker", clock).client
        self.prometheus = Prometheus(prometheus.url(self.choices))
        self.screen = Screen()
        self.policies = policies(f"{owner}/{vessel}")
        others = [row["name"] for row in fleet.list_judged(self.db) if row["name"] != vessel]
        if others:
            raise Misconfigured(
                f"Others live here, and this plays with the clock of all: {', '.join(others)}.",
                hint="make demo-idle STATE=/var/lib/drc-demo ARGS='--port 8887 --sshd-port 2297'",
            )
        self.begun = time.monotonic()
        self.training = threading.Timer(BUSY, self.use, (0,))
        self.told = ""

    def say(self, text: str) -> None:
        if text != self.told:
            console.print(f"[dim]{time.monotonic() - self.begun:5.1f} s[/]  {text}")
            self.told = text

    def row(self) -> Row | None:
        return next((r for r in fleet.list_judged(self.db) if r["name"] == self.vessel), None)

    def round(self) -> str:
        """One of the undertaker's; what it thinks of the vessel, empty once it is being buried."""
        try:
            run_once(self.db, self.client, fleet.read_now(self.db), self.policies, self.prometheus)
        except MetricsUnreachable as failed:
            self.say(failed.message)
        deliver(self.db, self.screen)
        row = self.row()
        judged = fleet.read_idle(self.db, str(row["id"])) if row else None
        if judged:
            self.say(f"{judged['verdict']:<5} because {judged['reason']}")
        return judged["rung"] if judged else ""

    def use(self, percent: float) -> None:
        """Let its GPUs be that busy from now on."""
        row = self.row()
        usage = dict.fromkeys(row["gpus"] if row else [], percent)
        exporter.write_usage(prometheus.usage_file(self.state), usage)

    def wait_for(self, rung: str) -> None:
        """Rounds until it has come to this rung; empty: until it is being buried."""
        while self.round() != rung:
            if time.monotonic() - self.begun > LONGEST:
                raise DrcError(f"{self.vessel} did not become {rung or 'buried'} in {LONGEST} s.")
            time.sleep(PAUSE)

    def click(self, action: str) -> dict[str, Any]:
        if self.screen.last is None:
            raise DrcError("There is no message to click on.")
        asked = {"action": action, "channel": "the demo", "recipient": YOU}
        return self.client.call("POST", f"/v1/messages/{self.screen.last.id}/click", asked)

    def run(self) -> None:
        prometheus.configure(self.state, self.choices, every="200ms")
        try:
            console.print("[bold]An hour of work time is a second here.[/]\n")
            console.print("A training begins, and ends after four hours.")
            self.use(90)
            self.training.start()
            self.wait_for("active")
            self.wait_for("warned")
            kept = self.click("keep")["kept"]
            console.print(
                "Its owner clicks on [reverse] Keep [/], once;"
                f" {kept['keeps_left']} more times are left. Then nobody uses it again."
            )
            for rung in ("warned", "called", ""):
                self.wait_for(rung)
        finally:
            self.training.cancel()
            exporter.write_usage(prometheus.usage_file(self.state), {})
            prometheus.configure(self.state, self.choices)
            self.db.close()


def policies(vessel: str) -> Policies:
    """For this vessel alone; all others are left in peace."""
    hour: dict[str, Any] = {
        "warn_after": 6 * HOUR, "bury_after": 6 * HOUR, "keep_hours": 6 * HOUR,
        "last_call_minutes": 60 * HOUR, "gap_minutes": 3 * 60 * HOUR, "hours": "24x7",
    }  # fmt: skip
    rest = {**hour, "exempt": True}
    return Policies(File(step_seconds=1, default=rest, vessel={vessel: {"exempt": False}}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.idle")
    parser.add_argument("state", type=Path)
    parser.add_argument("owner")
    parser.add_argument("vessel")
    asked = parser.parse_args()
    try:
        Play(State(asked.state), asked.owner, asked.vessel).run()
    except DrcError as failed:
        print(failed.message, failed.hint, file=sys.stderr)  # noqa: T201
        sys.exit(failed.exit_code)


if __name__ == "__main__":
    main()
