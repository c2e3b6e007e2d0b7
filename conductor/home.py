"""An owner's home on a host: which volume it is, and how one of another host comes there.

It comes as a tar through the conductor, out of one container of ours and into another, which have
the homes and nothing else; and it is nobody's home before it is whole (image/net/home).
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import docker.errors

from conductor import container, images, wanted
from conductor.execute import ERR, OUT, Running, answered, execute, running
from conductor.host import Host, translated
from conductor.images import Peers
from conductor.probe import DISK_NEEDED_MIB
from conductor.said import clean
from conductor.wanted import Names
from conductor.work import Work
from drc import fleet
from drc.db import Database
from drc.errors import DrcError, EngineFailed, HostUnreachable, StaleAttempt, StartFailed
from drc.machine import show_memory

PROGRAM = "/usr/lib/drc/home"
WAIT = ["sleep", "43200"]
SIZE = ["du", "--summarize", "--one-file-system", "--block-size=1M", wanted.HOMES]
SEND = ["tar", "--create", "--file=-", f"--directory={wanted.HOMES}", "--one-file-system",
        "--numeric-owner", "--sparse", "--acls", "--xattrs", "--xattrs-include=user.*",
        "--xattrs-include=security.capability", "--exclude=./.drc-coming",
        "--exclude=./.drc-whole", "--exclude=./.drc-came", "."]  # fmt: skip
CHANGED = 1  # tar's status where a file became another while it was read
LONG = 900.0  # seconds for a step: a million files may go, or have to get to the disk
SIZING = 60.0  # seconds after which it comes without anybody knowing how large it is
SILENT = 120.0  # seconds without a byte
TOLD = 5.0  # seconds between two words of how far it is
HELD = 7200.0  # seconds to wait for another that comes to the same home
PAUSES = (2.0, 10.0, 30.0, 60.0)
"""Seconds between tries; after them the vessel begins without that home, which stays there."""

log = logging.getLogger("conductor.home")
Say = Callable[..., Future[Any]]


class Stays(StartFailed):
    """It cannot come, however often that is tried."""


def volume(host: Host, names: Names, work: Work) -> str:
    """The owner's home on the host.

    Homes outlive installations, and the next one begins its uids anew: a volume that bears this
    uid but another's login is left alone, and the owner gets one that bears the login too.
    """
    name = names.home_volume(work.uid)
    if name not in host.homes:
        labels = labels_of(host, name) or {}
        host.homes[name] = labels.get(wanted.HOME, work.login)
    return name if host.homes[name] == work.login else f"{name}-{work.login}"


def labels_of(host: Host, volume: str) -> dict[str, str] | None:
    """None: there is no such volume."""
    with translated(host.name):
        try:
            return host.docker().inspect_volume(volume)["Labels"] or {}
        except docker.errors.NotFound:
            return None


@dataclass(frozen=True, slots=True)
class Journeys:
    """Homes on their way to other hosts."""

    db: Database
    names: Names
    net_image: str
    peers: Peers
    hosts: Callable[[int], Host]
    """By id."""
    apart: Callable[[], AbstractContextManager[None]]
    """Around what takes long, so that it keeps nobody else from being worked for."""
    ended: threading.Event
    """Set when the conductor is to end; another goes on then."""

    def bring(self, work: Work, host: Host, say: Say) -> None:
        """See to it that the home which the vessel is to have with it is there. `say`: a step to
        the API, which goes on its way; its result can be waited for.

        Raises HostUnreachable, StaleAttempt when the vessel is to stop, and EngineFailed when the
        conductor is to end.
        """
        row = fleet.find_home_to_bring(self.db, work.vessel_id)
        if row is None:
            say("home_came").result()
            return
        with self.apart():
            for pause in (*PAUSES, None):
                try:
                    came = self._try(work, host, row["id"], row["name"], say)
                except (EngineFailed, StartFailed) as failed:
                    log.warning("the home of %s on %s: %s", work.login, row["name"], failed)
                    if self.ended.is_set():
                        raise
                    if pause is None or isinstance(failed, Stays):
                        told = {"from": row["name"], "reason": failed.message}
                        say("home_stays", data=told).result()
                        return
                    self._rest(work, pause)
                else:
                    if "begun" in came:
                        came["seconds"] = round(time.monotonic() - came.pop("begun"), 3)
                    # waited for: nobody else is to look before whether it has come
                    say("home_came", data=came).result()
                    return

    def _rest(self, work: Work, seconds: float) -> None:
        """Raises StaleAttempt as soon as the vessel is to stop, EngineFailed likewise."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.ended.wait(min(left, 1.0)):
                raise EngineFailed("The conductor ends.")
            work.go_on()

    def _try(self, work: Work, host: Host, old_id: int, old: str, say: Say) -> dict[str, Any]:
        """What is to be told of a home that came; `begun`: when it was as it is (time.monotonic).

        Raises EngineFailed, HostUnreachable, Stays.
        """
        hold = [PROGRAM, "hold", work.vessel_id, old]
        with self._mounted(work, host, hold) as there:
            self._wait_for_turn(work, host, there)
            if fleet.find_home_to_bring(self.db, work.vessel_id) is None:
                return {}  # another vessel has brought it meanwhile
            told: dict[str, Any] = {"from": old}
            state, number = step(work, host, there, "begin", old)
            if state == "came":  # and whoever brought it could not tell
                return told | since(number)
            try:
                room = int(number) - DISK_NEEDED_MIB if number.isdecimal() else 0
                told |= self._copy(work, host, there, old_id, old, room, say)
                ago, folder = step(work, host, there, "settle", old)
            except BaseException:
                with contextlib.suppress(DrcError):
                    step(work, host, there, "forget", old)
                raise
        return told | since(ago) | ({"folder": folder} if folder else {})

    def _copy(
        self, work: Work, host: Host, there: str, old_id: int, old: str, room: int, say: Say
    ) -> dict[str, Any]:
        """Returns how large it was."""
        with ExitStack() as stack:
            with speaking_of(old):
                source = self.hosts(old_id)
                here = stack.enter_context(self._mounted(work, source, WAIT, reads=True))
                mib = size(source, here)
            if mib and mib > room:
                raise no_room(host, mib, room)
            say("home_coming", data={"from": old, "mib": mib})
            count = pour(work, source, here, host, there, room, partly(say, old, mib))
        return {"mib": mib or count >> 20}

    def _wait_for_turn(self, work: Work, host: Host, there: str) -> None:
        """Until no other comes to the same home. Raises EngineFailed, StaleAttempt."""
        deadline, pause = time.monotonic() + HELD, 0.02
        while "held" not in (container.last_lines(host, there, 1) or ""):
            if time.monotonic() > deadline:
                raise EngineFailed(f"Something holds the home on {host.name}.")
            self._rest(work, pause)
            pause = min(pause * 2, 1.0)

    @contextmanager
    def _mounted(
        self, work: Work, host: Host, command: list[str], *, reads: bool = False
    ) -> Generator[str]:
        """The id of a container with the owner's home on a host.

        Raises EngineFailed, HostUnreachable, Stays.
        """
        home = volume(host, self.names, work)
        if reads and labels_of(host, home) is None:
            raise Stays(f"There is no home on {host.name} any more.")
        images.ensure(host, self.net_image, self.peers)
        body = wanted.home_container(self.names, self.net_image, home, work, command, reads=reads)
        with answered(host):
            # in the place of one that a claim which was lost may have yet, and with it its lock
            id = container.create(host, body, self.names.journey(work.vessel_id, work.attempt))
        try:
            with answered(host):
                container.start(host, id)
            yield id
        finally:
            with contextlib.suppress(DrcError):
                host.remove(id)


@contextmanager
def speaking_of(old: str) -> Generator[None]:
    """What happens there is not the fault of the host that the vessel is on."""
    try:
        yield
    except (HostUnreachable, StaleAttempt) as failed:
        raise EngineFailed(f"{old}, where the home is, does not answer: {failed}") from failed


def step(work: Work, host: Host, container: str, name: str, old: str) -> tuple[str, str]:
    """The two words that `home` says of a step; either may be missing. Raises EngineFailed."""
    command = [PROGRAM, name, work.vessel_id, old]
    status, out, err = execute(host, container, command, "", LONG)
    if status != 0:
        raise EngineFailed(f"The home on {host.name}: {words(err) or f'{name} ended: {status}'}")
    first, second = (*out.split(), "", "")[:2]
    return first, second


def since(ago: str) -> dict[str, Any]:
    """When it was as it is now, as far as that is known, from the milliseconds that `home` says."""
    return {"begun": time.monotonic() - int(ago) / 1000} if ago.isdecimal() else {}


def size(host: Host, container: str) -> int | None:
    """MiB, rather too few where something cannot be read; None where that takes too long."""
    _, out, _ = execute(host, container, SIZE, "", SIZING)
    word = out.split()[0] if out.split() else ""
    return int(word) if word.isdecimal() else None


def no_room(host: Host, mib: int, room: int) -> Stays:
    left = show_memory(max(room, 0))
    return Stays(f"{host.name} has no room for {show_memory(mib)}; it has {left}.")


def partly(say: Say, old: str, mib: int | None) -> Callable[[int], None]:
    """Tells how many bytes have come, not too often."""
    last = time.monotonic()

    def tell(count: int) -> None:
        nonlocal last
        if time.monotonic() - last > TOLD:
            last = time.monotonic()
            say("home_coming", data={"from": old, "mib": mib, "came_mib": count >> 20})

    return tell


def pour(
    work: Work, old: Host, here: str, host: Host, there: str, room: int,
    tell: Callable[[int], None],
) -> int:  # fmt: skip
    """From a container on one host into one on another. Returns the bytes.

    Raises EngineFailed, StaleAttempt, Stays.
    """
    receive = [PROGRAM, "receive", work.vessel_id, old.name]
    said, count = b"", 0
    try:
        with running(host, there, receive, SILENT) as sink, ExitStack() as stack:
            with speaking_of(old.name):
                source = stack.enter_context(running(old, here, SEND, SILENT))
            for stream, piece in source.frames():
                if stream == OUT:
                    send(host, sink, piece)
                    count += len(piece)
                    if count >> 20 > room:
                        raise no_room(host, count >> 20, room)
                    tell(count)
                    work.go_on()
                else:
                    said = (said + piece)[-1000:]
            if source.status() not in (0, CHANGED):
                raise EngineFailed(f"The home on {old.name} could not be read: {words(said)}")
            sink.channel.shutdown_write()
            ended(host, sink)
    except TimeoutError:
        raise EngineFailed(f"Between {old.name} and {host.name} nothing moves any more.") from None
    return count


def send(host: Host, sink: Running, piece: bytes) -> None:
    """Raises EngineFailed with what it said, where it has ended."""
    try:
        sink.send(piece)
    except TimeoutError:
        raise
    except OSError:
        ended(host, sink)
        raise EngineFailed(f"The home on {host.name} could not be written.") from None


def ended(host: Host, sink: Running) -> None:
    """Raises EngineFailed unless it has unpacked all."""
    said = b"".join(piece for stream, piece in sink.frames() if stream == ERR)
    if sink.status() != 0:
        raise EngineFailed(f"The home on {host.name} could not be written: {words(said)}")


def words(said: bytes | str) -> str:
    return clean(said.decode(errors="replace") if isinstance(said, bytes) else said)[-300:]
