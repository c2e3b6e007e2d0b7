"""A conductor without Docker: it claims real work and tells the API what the real one would.

It has the conductor's own database role, key and way to speak; only what would happen on a host
does not happen.
"""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from conductor.api import Api as Telling
from conductor.host import Door
from conductor.work import Work, work_of
from drc import fleet
from drc.auth import Signer
from drc.db import Database
from drc.errors import HostTaken, StaleAttempt, Unreachable
from drc.sshkey import parse_public_key
from drc.trouble import Kind
from drc.up.postgres import Postgres
from tests.wire.served import Remote

LEASE = timedelta(seconds=30)
STEPS = ("starting", "image_ready", "ssh_ready", "jupyter_ready", "running")
NO_LAYER = "drc's layer cannot be built on it: a base must be Debian or Ubuntu."
LOG = "sshd: ready\njupyter: ready\n"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42 + "B"
FINGERPRINT = parse_public_key(HOST_KEY).fingerprint
KEY_CHANGED = "It shows another host key than the pinned one. Nothing is sent to it."
MACHINE: dict[str, Any] = {
    "docker_version": "20.10.24",
    "cpus": 64,
    "millicpus": 60_800,
    "memory_mib": 486_400,
    "gpus": [
        {
            "uuid": f"GPU-gpu7-{index}",
            "index": index,
            "name": "NVIDIA H100 80GB HBM3",
            "model": "h100",
            "memory_mib": 81559,
            "simulated": False,
        }
        for index in range(2)
    ],
}


class StandIn:
    def __init__(
        self, postgres: Postgres, database: str, api: Remote, name: str = "standin"
    ) -> None:
        self.db = Database(postgres.url("drc_conductor", database), size=4)
        signer = Signer.load(api.keys / "conductor.pem")
        self.name = f"conductor:{name}"
        self.tell = Telling(api.url, signer, self.name, partial(fleet.read_now, self.db))
        self.until = STEPS[-1]
        """The last step that is taken; what comes after it never does."""
        self.machines = {"gpu7": MACHINE}
        """What a look finds, by the host's name. A host that is not in it stays as it is."""
        self.new_key = ""
        """What every pinned host shows instead of its own key, as one that was set up anew."""
        self.ill = ""
        """Why a host cannot be looked at."""
        self.health: dict[str, Any] = {}
        """What a look finds of its health, where that is not all well."""
        self.home_stays = ""
        """Why no home can be brought from another host."""
        self.done: list[tuple[str, str]] = []
        """Verb and vessel of all work that was finished."""

    def claim(self) -> Work | None:
        row = fleet.claim_work(self.db, self.name, LEASE, [])
        return work_of(row, self.name) if row else None

    def take(self, verb: str) -> Work:
        """Claim the one piece of work there is, which must be of that verb."""
        work = self.claim()
        assert work is not None
        assert work.verb == verb
        return work

    def run_once(self) -> int:
        count = 0
        while work := self.claim():
            count += 1
            try:
                self.do(work)
            except Unreachable as refused:
                if type(refused) is not Unreachable:  # nobody answered
                    raise
                # another shares its GPUs yet, and is to come first
                fleet.return_work(self.db, work.id, self.name, timedelta(seconds=0.1), None)
        return count

    def do(self, work: Work) -> None:
        with (
            work.bound(),
            contextlib.suppress(StaleAttempt),
        ):  # it is to stop meanwhile, which is other work
            self.attempt(work)
            if work.verb == "start" and self.until != STEPS[-1]:
                return  # at work on it for ever; the claim stays
        self.done.append((work.verb, work.name))
        if not fleet.finish_work(self.db, work.id, self.name, work.generation):
            fleet.return_work(self.db, work.id, self.name, timedelta(0), None)

    def attempt(self, work: Work) -> None:
        if work.verb == "start":
            self.bring_up(work)
        elif work.verb == "stop":
            self.tell.absent(work, LOG)
        elif work.verb == "log":
            self.tell.log(work, LOG)
        elif work.verb == "keys":
            self.tell.secrets(work)
        elif work.verb == "probe":
            self.probe(work)
        elif work.verb == "layer":
            self.prepare(work)
        elif work.verb == "leave":
            self.tell.gone(work.host_id)

    def prepare(self, work: Work) -> None:
        """What an image of Debian's becomes; of any other nothing can be made."""
        self.tell.log_build(work, f"Step 1/1 : FROM {work.image}\n")
        if not work.image.startswith("debian"):
            self.tell.finish_build(work, reason=NO_LAYER)
            return
        self.tell.log_build(work, "Setting up sshd\n")
        self.tell.finish_build(work, digest="sha256:0123456789ab", layer="drc/layer:0-1")

    def probe(self, work: Work) -> None:
        """As the real one: an unpinned host only shows its key, until its fingerprint fits."""
        if self.ill:
            self.tell.ill(work.host_id, self.ill)
            return
        if not self.door(work.host_id).pinned:
            self.tell.show_key(work.host_id, HOST_KEY)
        door = self.door(work.host_id)
        if not door.ssh_host_key:
            return
        if not door.pinned:
            self.tell.ill(door.id, f"It shows the host key {FINGERPRINT}, not {door.ssh_host_key}.")
        elif self.new_key and door.ssh_host_key != self.new_key:
            self.tell.show_key(door.id, self.new_key)
            self.tell.ill(door.id, KEY_CHANGED)
        elif door.name in self.machines:
            found = self.machines[door.name]
            try:
                self.tell.report(door.id, found)
            except HostTaken as failed:  # as the real one, with a GPU that is another host's
                self.tell.ill(door.id, failed.message)
                return
            cards = {gpu["uuid"]: {"fault": "", "leftover": ""} for gpu in found["gpus"]}
            well = {"exporter": True, "driver": None, "driver_said": "", "gpus": cards}
            self.tell.health(door.id, well | self.health)

    def silent(self, host_id: int, why: str = "it does not answer") -> int:
        """Its host fell silent. Returns how many vessels are unreachable."""
        return self.tell.silent(host_id, Kind.HOST_SILENT, why)

    def door(self, host_id: int) -> Door:
        return next(Door(**r) for r in fleet.read_host_doors(self.db) if r["id"] == host_id)

    def bring_up(self, work: Work, after: str | None = None) -> None:
        """The steps as far as `until`; `after`: that one was taken already, and those before it."""
        where = {"ssh_address": "127.0.0.1", "ssh_port": 22000 + work.id}
        begin = STEPS.index(after) + 1 if after else 0
        for step in STEPS[begin : STEPS.index(self.until) + 1]:
            if step == "starting":
                self.tell.start(work)
            elif step == "image_ready":
                self.tell.step(work, step, image_digest="sha256:0123456789ab", **where)
                if work.home_from is not None:
                    self.bring_home(work)
            elif step == "running":
                self.tell.run(work, self.tell.secrets(work)["token"])
            else:
                self.tell.step(work, step)

    def bring_home(self, work: Work) -> None:
        row = fleet.find_home_to_bring(self.db, work.vessel_id)
        if row is None:
            self.tell.step(work, "home_came")
            return
        told = {"from": row["name"], "mib": 3072}
        self.tell.step(work, "home_coming", data={**told, "came_mib": 1024})
        if self.home_stays:
            self.tell.step(work, "home_stays", data={**told, "reason": self.home_stays})
        else:
            self.tell.step(work, "home_came", data={**told, "seconds": 0.0})

    @contextmanager
    def at_work(self, until: str = STEPS[-1]) -> Iterator[None]:
        """Claim and do in the background, as far as `until`."""
        self.until = until
        ended = threading.Event()
        failed: list[BaseException] = []

        def loop() -> None:
            try:
                while not ended.is_set():
                    if not self.run_once():
                        ended.wait(0.01)
            except BaseException as reason:
                failed.append(reason)

        thread = threading.Thread(target=loop, name="standin")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=10)
            self.until = STEPS[-1]
        assert failed == []

    def close(self) -> None:
        self.tell.client.close()
        self.db.close()
