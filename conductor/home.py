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
from contextlib import ExitStack, contextmanager
from typing import Any

import docker.errors

from conductor import container, images, wanted
from conductor.execute import ERR, OUT, execute, running
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
SIZE = ["du", "--summarize", "--one-file-system", "--block-size=1M", wanted.HOMES]
SEND = ["tar", "--create", "--file=-", f"--directory={wanted.HOMES}", "--one-file-system",
        "--numeric-owner", "--sparse", "--acls", "--xattrs", "--xattrs-include=user.*",
        "--xattrs-include=security.capability", "--exclude=./.drc-*", "."]  # fmt: skip
CHANGED = 1  # tar's status where a file became another while it was read
QUICK = 30.0  # seconds for a step that moves nothing
SIZING = 60.0  # seconds after which it comes without anybody knowing how large it is
SILENT = 120.0  # seconds without a byte
TOLD = 5.0  # seconds between two words of how far it is
TRIES = 3  # of a start; then it begins without that home, which stays where it is

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


def bring(
    work: Work,
    host: Host,
    hosts: Callable[[int], Host],
    db: Database,
    names: Names,
    net_image: str,
    peers: Peers,
    say: Say,
) -> None:
    """See to it that the home which the vessel is to have with it is there. `hosts`: by id; `say`:
    a step to the API, which goes on its way; its result can be waited for.

    Raises EngineFailed and HostUnreachable where it may come the next time.
    """
    with alone(work, host):  # whoever comes second finds what the first has brought
        row = fleet.find_home_to_bring(db, work.vessel_id)
        if row is None:
            say("home_came")
            return
        came: dict[str, Any] = {"from": row["name"]}
        try:
            with speaking_of(row["name"]):
                old = hosts(row["id"])
            came |= copy(work, old, host, names, net_image, peers, say)
        except (EngineFailed, HostUnreachable, StartFailed) as failed:
            if work.tries < TRIES and not isinstance(failed, Stays):
                raise
            log.warning("the home of %s stays on %s: %s", work.login, row["name"], failed)
            say("home_stays", data={**came, "reason": failed.message})
        else:
            say("home_came", data=came).result()  # before anybody else looks whether it has come


@contextmanager
def alone(work: Work, host: Host) -> Generator[None]:
    """No other of the owner's vessels brings a home to the host meanwhile. Raises StaleAttempt."""
    lock = host.homing.setdefault(work.uid, threading.Lock())
    while not lock.acquire(timeout=1.0):
        work.go_on()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def speaking_of(old: str) -> Generator[None]:
    """What happens there is not the fault of the host that the vessel is on."""
    try:
        yield
    except (HostUnreachable, StaleAttempt) as failed:
        raise EngineFailed(f"{old}, where the home is, does not answer: {failed}") from failed


def copy(
    work: Work, old: Host, host: Host, names: Names, net_image: str, peers: Peers, say: Say
) -> dict[str, Any]:  # fmt: skip
    """What is to be told of a home that came. Raises EngineFailed, HostUnreachable, Stays."""
    begun, told = time.monotonic(), dict[str, Any]()
    with apart(host, names, net_image, peers, work, reads=False) as there:
        state = step(host, there, "begin", work.vessel_id)
        if state == "came":
            return told
        try:
            if state != "whole":  # which an earlier try has brought
                with ExitStack() as stack:
                    with speaking_of(old.name):
                        here = stack.enter_context(
                            apart(old, names, net_image, peers, work, reads=True)
                        )
                        told["mib"] = size(old, here)
                    check_room(host, told["mib"], int(state) - DISK_NEEDED_MIB)
                    say("home_coming", data={"from": old.name, **told})
                    pour(work, old, here, host, there, partly(say, old.name, told))
            folder = step(host, there, "settle", work.vessel_id, old.name)
        except BaseException:
            with contextlib.suppress(DrcError):
                step(host, there, "forget", work.vessel_id)
            raise
    if folder:
        told["folder"] = folder
    if state != "whole":
        told["seconds"] = round(time.monotonic() - begun, 3)
    return told


def check_room(host: Host, mib: int | None, room: int) -> None:
    if mib and mib > room:
        raise Stays(f"{host.name} has no room for {show_memory(mib)}; it has {show_memory(room)}.")


@contextmanager
def apart(
    host: Host, names: Names, image: str, peers: Peers, work: Work, *, reads: bool
) -> Generator[str]:
    """A container with the owner's home on a host. Raises EngineFailed, HostUnreachable, Stays."""
    home = volume(host, names, work)
    if reads and labels_of(host, home) is None:
        raise Stays(f"There is no home on {host.name} any more.")
    images.ensure(host, image, peers)
    name = names.journey(work.vessel_id, work.attempt)
    container.create(host, wanted.home_container(names, image, home, work.login, reads=reads), name)
    try:
        container.start(host, name)
        yield name
    finally:
        with contextlib.suppress(DrcError):
            host.remove(name)


def step(host: Host, container: str, *words: str) -> str:
    """What `home` says of one of its steps. Raises EngineFailed."""
    status, out, err = execute(host, container, [PROGRAM, *words], "", QUICK)
    if status != 0:
        raise EngineFailed(f"The home on {host.name}: {clean(err)[-300:] or status}")
    return out.strip()


def size(host: Host, container: str) -> int | None:
    """MiB; None where that takes too long to tell."""
    status, out, _ = execute(host, container, SIZE, "", SIZING)
    word = out.split()[0] if out.split() else ""
    return int(word) if status == 0 and word.isdecimal() else None


def partly(say: Say, old: str, told: dict[str, Any]) -> Callable[[int], None]:
    """Tells how many bytes have come, not too often."""
    last = time.monotonic()

    def tell(count: int) -> None:
        nonlocal last
        if time.monotonic() - last > TOLD:
            last = time.monotonic()
            say("home_coming", data={"from": old, **told, "came_mib": count >> 20})

    return tell


def pour(
    work: Work, old: Host, here: str, host: Host, there: str, tell: Callable[[int], None]
) -> None:
    """From a container on one host into one on another. Raises EngineFailed, StaleAttempt."""
    try:
        with (
            running(host, there, [PROGRAM, "receive", work.vessel_id], SILENT) as sink,
            running(old, here, SEND, SILENT) as source,
        ):
            said, count = b"", 0
            for stream, piece in source.frames():
                if stream == OUT:
                    send(host, sink, piece)
                    count += len(piece)
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


def send(host: Host, sink: Any, piece: bytes) -> None:
    """Raises EngineFailed with what it said, where it has ended."""
    try:
        sink.channel.sendall(piece)
    except OSError:
        ended(host, sink)
        raise EngineFailed(f"The home on {host.name} could not be written.") from None


def ended(host: Host, sink: Any) -> None:
    """Raises EngineFailed unless it has unpacked all."""
    said = b"".join(piece for stream, piece in sink.frames() if stream == ERR)
    if sink.status() != 0:
        raise EngineFailed(f"The home on {host.name} could not be written: {words(said)}")


def words(said: bytes) -> str:
    return clean(said.decode(errors="replace"))[-300:]
