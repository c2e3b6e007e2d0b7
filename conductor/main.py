"""The conductor's loop: claim, do, finish; keep leases alive; keep an eye on the hosts.

Any number of conductors may run: each claims what nobody else holds. One that dies leaves claims
whose leases run out, and another repeats their steps.
"""

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

from conductor import berths, care, images, mapping, measure, metrics, reconcile, watch
from conductor.api import Api
from conductor.home import Journeys
from conductor.host import Door, Host, load_key, shown_key
from conductor.leave import leave
from conductor.metrics import WORK
from conductor.prepare import prepare
from conductor.probe import probe
from conductor.reach import Reach, tidy
from conductor.reach.configured import reach_of
from conductor.reach.tailnet import Tailnet
from conductor.start import start
from conductor.stop import stop
from conductor.wanted import Names
from conductor.work import Work, work_of
from drc import fleet, trace
from drc.auth import Signer
from drc.config import (
    DEFAULT_IMAGE,
    NET_IMAGE,
    address_and_port,
    count,
    metrics_at,
    need,
    need_secret,
)
from drc.db import Database
from drc.errors import (
    BadInput,
    DrcError,
    EngineFailed,
    HostKeyChanged,
    HostUnreachable,
    Misconfigured,
    Refused,
    StaleAttempt,
    Unreachable,
)
from drc.fleet import Announced
from drc.log import begin, bound
from drc.machine import parse_memory
from drc.sshkey import parse_public_key

WORKERS = 48  # pieces of work at once; each mostly waits for a host
JOURNEYS = 16  # of homes at once, beside them; more wait among the work
PER_HOST = 12  # of them for one host, so that a slow one leaves room for the others
LOOKERS = 16  # threads that look at hosts and keep berths waiting, beside the work
LEASE = timedelta(seconds=30)
RENEWAL = 8.0  # seconds; three renewals may be lost before a lease is
POLL = 2.0  # seconds without a ring after which the outbox is looked at anyway
START_TRIES = 4
LONGEST_DELAY = 30.0
FINISHING = (0.2, 0.5, 1.0, 2.0, 4.0)  # seconds between tries to say what became of work

log = logging.getLogger("conductor")


class Conductor:
    def __init__(
        self, db: Database, api: Api, key: Path, net_image: str, waiting: int,
        disk_mib: int | None, reach: Reach,
    ) -> None:  # fmt: skip
        self.db = db
        self.api = api
        self.name = api.subject
        self.key = load_key(key)
        self.net_image = net_image
        self.waiting_berths = waiting
        self.disk_mib = disk_mib
        self.reach = reach
        self.names = Names(fleet.read_installation(db))
        self.hosts: dict[int, Host] = {}
        self.held: dict[int, Work] = {}
        self.silent_until: dict[int, float] = {}
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.workers = ThreadPoolExecutor(WORKERS + JOURNEYS, thread_name_prefix="work")
        self.slots = threading.Semaphore(WORKERS)
        self.ways = threading.Semaphore(JOURNEYS)
        self.lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="look")
        self.readers = ThreadPoolExecutor(measure.READERS, thread_name_prefix="use")
        self.journeys = Journeys(
            db, self.names, net_image, self.peers, self.host, self.apart, self.ended
        )
        self.measures = False
        """Whether it has metrics, so that it reads what vessels use."""
        self.announced: Announced | None = None
        """Where they are; None: nobody is to look for them."""

    # Hosts ------------------------------------------------------------------------------------

    def host(self, id: int) -> Host:
        """The host as its row says now; a changed row means a new connection."""
        rows = fleet.read_host_doors(self.db, id)
        if not rows:
            raise StaleAttempt("The host was removed.")
        return self.through(Door(**rows[0]))

    def through(self, door: Door) -> Host:
        """The host behind a door."""
        with self.lock:
            host = self.hosts.get(door.id)
            if host is not None and not host.same_door(door):
                host.close()
                host = None
            if host is None:
                host = self.hosts[door.id] = Host(door, self.key, self.disk_mib, self.reach)
            host.door = door
            return host

    def peers(self) -> list[Host]:
        """The hosts that may have an image that another lacks: all but those known as silent."""
        doors = [Door(**row) for row in fleet.read_host_doors(self.db)]
        hosts = [self.through(door) for door in doors if door.probed]
        return [host for host in hosts if host.silent_since is None]

    @contextlib.contextmanager
    def apart(self) -> Generator[None]:
        """Work that takes minutes, which keeps nobody else from being worked for meanwhile."""
        with self.ways:
            self.slots.release()
            try:
                yield
            finally:
                self.slots.acquire()

    def full_or_silent(self) -> list[int]:
        """The hosts that get no more work for now."""
        now = time.monotonic()
        with self.lock:
            count = Counter(work.host_id for work in self.held.values() if work.step != "home")
        full = [id for id, n in count.items() if n >= PER_HOST]
        return full + [id for id, until in self.silent_until.items() if until > now]

    # Work -------------------------------------------------------------------------------------

    def run_once(self) -> int:
        """Claim everything that is due and begin it. Returns how many pieces were begun."""
        begun = 0
        while not self.ended.is_set():
            self.slots.acquire()
            try:
                claim = f"{self.name}#{secrets.token_hex(4)}"
                row = fleet.claim_work(self.db, claim, LEASE, self.full_or_silent())
            except BaseException:
                self.slots.release()
                raise
            if row is None:
                self.slots.release()
                return begun
            work = work_of(row, claim)
            with self.lock:
                self.held[work.id] = work
            self.workers.submit(self._do, work)
            begun += 1
        return begun

    def _do(self, work: Work) -> None:
        try:
            with work.bound():
                self._see_to(work)
        finally:
            with self.lock:
                self.held.pop(work.id, None)
            self.slots.release()

    def _see_to(self, work: Work) -> None:
        try:
            failed = self._attempt(work)
            if failed is not None:
                work.break_off(failed)
            self._finish_patiently(work, failed)
        except Unreachable as failed:
            log.warning("work %s %s: %s", work.verb, work.id, failed)  # its lease will run out
        except Exception:
            log.exception("work %s %s", work.verb, work.id)

    def _attempt(self, work: Work) -> DrcError | None:
        """Do the work. Returns what went wrong, or None."""
        try:
            host = self.host(work.host_id)
            if work.verb == "start":
                start(
                    work,
                    host,
                    self.db,
                    self.api,
                    self.names,
                    self.net_image,
                    self.peers,
                    self.journeys,
                )
                self.lookers.submit(self.refill, host)
                self.lookers.submit(mapping.write, host, self.db)
            elif work.verb == "stop":
                stop(work, host, self.db, self.api, self.names)
                self.lookers.submit(mapping.write, host, self.db)
            elif work.verb == "keys":
                care.write_keys(work, host, self.api, self.names)
            elif work.verb == "log":
                care.fetch_log(work, host, self.api, self.names)
            elif work.verb == "layer":
                prepare(work, host, self.api, self.names, self.net_image, self.peers)
            elif work.verb == "leave":
                mapping.write(host, self.db)  # nobody holds any of its GPUs by now
                leave(host, self.db, self.names)
                self.api.gone(work.host_id)
            else:
                self._probe(work, host)
        except DrcError as failed:
            return failed
        except Exception as bug:  # a bug must not leave a vessel hanging without a word
            log.exception("%s %s", work.verb, work.vessel_id or work.host_id)
            return EngineFailed(f"A bug in the conductor: {bug!r}")
        work.end()
        return None

    def _probe(self, work: Work, host: Host) -> None:
        """Look at a host, once its key is trusted; until then only show the key."""
        if not host.door.pinned:
            shown = shown_key(host.door)
            self.api.show_key(work.host_id, shown)
            host = self.host(work.host_id)  # pinned now, if its fingerprint was named
            if not host.door.ssh_host_key:
                return
            if not host.door.pinned:
                raise HostUnreachable(
                    f"{host.name} shows the host key {parse_public_key(shown).fingerprint}, "
                    f"not {host.door.ssh_host_key}. Nothing was sent to it."
                )
        found = probe(host, self.names)
        there = reconcile.list_containers(self, host)
        if not host.door.probed:  # it may have been ours before: what runs there holds its cards
            reconcile.clear(self, host, there)
        self.api.report(work.host_id, found)
        watch.report_health(self, host, reconcile.strangers(self, host, there))
        host = self.host(work.host_id)
        if host.door.open:
            self.lookers.submit(self.refill, host)

    def _finish_patiently(self, work: Work, failed: DrcError | None) -> None:
        """Database and API may be down for a moment, which is shorter than a lease."""
        for pause in FINISHING:
            try:
                return self._finish(work, failed)
            except Unreachable as down:
                log.info("work %s %s: %s", work.verb, work.id, down)
                self.ended.wait(pause)
        return self._finish(work, failed)

    def _finish(self, work: Work, failed: DrcError | None) -> None:
        """Take the row out, give it back for later, or tell the vessel's owner that it failed."""
        if failed is not None and not isinstance(failed, StaleAttempt):
            log.warning(
                "%s %s (try %s%s): %s",
                work.verb,
                work.name or work.host_id,
                work.tries,
                f", {work.step}" if work.step else "",
                failed,
            )
        hopeless = isinstance(failed, Refused) or work.tries >= START_TRIES
        outcome = "failed"
        if failed is None or isinstance(failed, StaleAttempt):
            outcome = "stale" if failed else "done"
            done = True
        elif work.verb == "start" and hopeless:
            with contextlib.suppress(StaleAttempt):  # it is to stop already: that is next
                self.api.fail(work, failed.message)
            done = True
        elif work.verb == "layer" and hopeless:
            self.api.finish_build(work, reason=failed.message)
            done = True
        elif work.verb == "log" and hopeless:
            done = True
        else:
            if work.verb == "probe" or isinstance(failed, HostKeyChanged):
                self.report_ill(work.host_id, failed)
            outcome = "again"
            done = False
        WORK.labels(work.verb, outcome).inc()
        trace.note(outcome=outcome)
        if done and fleet.finish_work(self.db, work.id, work.claim, work.generation):
            return
        delay = 0.0 if done else min(0.5 * 2**work.tries, LONGEST_DELAY)
        trouble = failed.message if failed else None
        fleet.return_work(self.db, work.id, work.claim, timedelta(seconds=delay), trouble)
        if done:
            self.db.ring(fleet.WORK)  # it became another piece of work meanwhile

    def report_ill(self, host_id: int, failed: DrcError) -> None:
        """The key that a host shows instead of the pinned one is told too, for people to judge."""
        if isinstance(failed, HostKeyChanged):
            log.error("%s", failed)
            self.api.show_key(host_id, failed.shown)
        self.api.ill(host_id, failed.message)

    def refill(self, host: Host) -> None:
        """Keep berths waiting on a host that takes vessels, and our images there.

        One thread at a time per host.
        """
        if not host.door.open or not host.refilling.acquire(blocking=False):
            return
        try:
            with bound(host=host.name):
                for image in (self.net_image, DEFAULT_IMAGE):
                    images.ensure(host, image, self.peers)
                berths.refill(host, self.db, self.names, self.net_image, self.waiting_berths)
        except DrcError as failed:
            log.warning("berths on %s: %s", host.name, failed)
        except Exception:
            log.exception("berths on %s", host.name)
        finally:
            host.refilling.release()

    # Loops ------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Keep the leases of all work in hand; what was lost is told to stop."""
        while not self.ended.wait(RENEWAL):
            for work in list(self.held.values()):
                try:
                    kept = fleet.renew_claim(self.db, work.id, work.claim, work.generation, LEASE)
                except DrcError as failed:
                    log.warning("%s", failed)
                    break
                if not kept:
                    work.lost.set()

    def watch(self) -> None:
        """Look at every host now and then: silence, ended containers, berths."""
        while not self.ended.wait(watch.PAUSE):
            try:
                self.announce()
                known = set(self.hosts)  # before the reading: one that is new now is not in it
                doors = [Door(**row) for row in fleet.read_host_doors(self.db)]
                for id in known - {door.id for door in doors}:
                    self.hosts.pop(id).close()  # it was removed
                for door in doors:
                    if door.probed:  # a cordoned or ill one too: its vessels go on
                        self.lookers.submit(watch.look, self, self.through(door))
            except DrcError as failed:
                log.warning("watching the hosts: %s", failed)
            except Exception:
                log.exception("watching the hosts")

    def tidy(self) -> None:
        """Keep the tailnet as the books say, where there is one."""
        if isinstance(self.reach, Tailnet):
            tidy.watch(self, self.reach)

    def release(self) -> None:
        """Give back what one of our name, which we are started in place of, had in hand.

        Otherwise it would lie until its leases run out.
        """
        try:
            released = fleet.release_claims(self.db, self.name)
        except DrcError as failed:
            log.warning("%s", failed)
        else:
            if released:
                log.info("took over %s pieces of work", released)

    def run(self) -> None:
        self.release()
        for loop in (self.renew, self.watch, self.tidy):
            threading.Thread(target=loop, name=loop.__name__, daemon=True).start()
        while not self.ended.is_set():
            try:
                for _ in self.db.listen(fleet.WORK, patience=POLL):
                    if self.ended.is_set():
                        break
                    self.run_once()
            except Unreachable as failed:
                log.warning("%s", failed)
                self.ended.wait(1)
        for pool in (self.workers, self.lookers, self.readers):
            pool.shutdown(wait=False, cancel_futures=True)
        for host in self.hosts.values():
            host.close()
        self.withdraw()

    def measured_at(self, listen: tuple[str, int], found: tuple[str, bool] | None) -> None:
        """Serve metrics there, where Prometheus finds them at `found`. Raises Misconfigured."""
        metrics.serve(self.hosts, *listen)
        self.measures = True
        if found:
            self.announced = Announced("conductor", self.name, *found)

    def announce(self) -> None:
        if self.announced:
            fleet.announce_program(self.db, self.announced)

    def withdraw(self) -> None:
        """Nobody is to look for our metrics any more."""
        try:
            if self.announced:
                fleet.withdraw_program(self.db, self.announced)
        except DrcError as failed:
            log.warning("%s", failed)


def vessel_disk(environ: Mapping[str, str]) -> int | None:
    """MiB of its own that a vessel may write; None: as much as there is. Raises Misconfigured."""
    value = environ.get("DRC_VESSEL_DISK", "100GiB")
    if value == "unlimited":
        return None
    try:
        return parse_memory(value)
    except BadInput:
        raise Misconfigured(
            f"DRC_VESSEL_DISK is “{value}”, which is no size.", hint="100GiB, or: unlimited"
        ) from None


def main() -> None:
    """Configured by the environment: docs/configuration.md."""
    try:
        begin()
        trace.begin("drc-conductor")
        environ = os.environ
        name = environ.get("DRC_CONDUCTOR", f"{socket.gethostname()}-{os.getpid()}")
        signer = Signer.load(Path(need(environ, "DRC_SIGNING_KEY")))
        db = Database(need_secret(environ, "DRC_DATABASE_URL").shown, size=16, name="drc-conductor")
        conductor = Conductor(
            db,
            Api(need(environ, "DRC_URL"), signer, f"conductor:{name}", partial(fleet.read_now, db)),
            Path(need(environ, "DRC_SSH_KEY")),
            environ.get("DRC_NET_IMAGE", NET_IMAGE),
            count(environ, "DRC_BERTHS", 2),
            vessel_disk(environ),
            reach_of(environ),
        )
        listen = address_and_port(environ, "DRC_METRICS_LISTEN")
        if listen:
            conductor.measured_at(listen, metrics_at(environ, *listen))
    except DrcError as failed:
        print(failed.message, failed.hint, file=sys.stderr)  # noqa: T201
        sys.exit(failed.exit_code)

    def end(_: int, __: object) -> None:
        conductor.ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    log.info("%s begins", conductor.name)
    conductor.run()
    trace.end()
    os._exit(0)  # work in hand is left to its lease; its steps are safe to repeat


if __name__ == "__main__":
    main()
