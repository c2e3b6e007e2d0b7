"""The layer that makes any image a vessel image: image/vessel built upon it, once per host.

It is kept there under a name that says what it was made of, so that the next vessel of the same
image finds it, and a recipe that changed makes another one. The build runs in the network of a
berth and within the limits of who asked for it, for whatever the image brings with it runs then;
but with Docker's own capabilities, NET_RAW among them, which the classic builder cannot drop.
"""

import hashlib
import io
import json
import logging
import os
import queue
import re
import tarfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conductor import images, wanted
from conductor.api import clean
from conductor.host import Host, translated
from conductor.wanted import Names
from conductor.work import Work
from drc.config import BUILD_ENVIRONMENT, package_folder
from drc.errors import EngineFailed, StartFailed

MACHINE_CA = Path("/etc/ssl/certs/ca-certificates.crt")
PAUSE = 0.5  # seconds between two words about a build, and two looks whether it is still wanted
QUIET = 1800.0  # seconds in which a step may say nothing; a large package unpacks for minutes
LEAST_MIB = 1024  # what pip needs to unpack JupyterLab, however small the vessel is to be
LAST_LINES = 12
STEP = re.compile(r"Step (\d+)/(\d+) : ")
_busy = threading.Lock()
_building: dict[tuple[int, str], threading.Lock] = {}

log = logging.getLogger("conductor.layer")


@dataclass(frozen=True, slots=True)
class Said:
    """What a build said since the last time, and which step of how many it is at."""

    lines: list[str]
    step: int = 0
    steps: int = 0


Tell = Callable[[Said], None]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a build runs: the container whose network it is in, and what it may use."""

    network: str
    memory_mib: int
    millicpus: int


def recipe() -> Path:
    return package_folder("image") / "vessel"


def ensure(
    host: Host, image: dict[str, Any], work: Work, names: Names, site: Site, tell: Tell
) -> dict[str, Any]:
    """A vessel image of the image that the work asks for: itself, or its layer.

    Raises StartFailed where none can be built, StaleAttempt when it is not wanted any more.
    """
    labels: dict[str, str] = image["Config"].get("Labels") or {}
    if wanted.BERTH in labels:  # a container has its image's labels, unless they are set anew
        raise StartFailed(
            f"{work.image} has the label {wanted.BERTH}, which tells drc's network containers "
            "from vessels. Build it without."
        )
    if labels.get(wanted.VESSEL_IMAGE) == "1":
        return image
    name = name_of(image["Id"])
    found = images.find(host, name)
    if found:
        return found
    with _alone(host, name, work, tell):
        return images.find(host, name) or build(host, image["Id"], name, work, names, site, tell)


def name_of(base: str) -> str:
    """From the ids of what it is made of: the base, and the recipe."""
    made_by = hashlib.sha256(context(recipe())).hexdigest()
    return f"{wanted.LAYER}:{base.removeprefix('sha256:')[:16]}-{made_by[:12]}"


@contextmanager
def _alone(host: Host, name: str, work: Work, tell: Tell) -> Generator[None]:
    """One build of a layer at a time on a host; who comes second finds it made."""
    with _busy:
        lock = _building.setdefault((host.door.id, name), threading.Lock())
    if not lock.acquire(blocking=False):
        tell(Said(["somebody else's build of the same image is awaited"]))
        while not lock.acquire(timeout=PAUSE):
            work.go_on()
    try:
        yield
    finally:
        lock.release()


def context(folder: Path, *more: tuple[str, Path]) -> bytes:
    """A tar of a recipe, the same one each time; `more`: files from elsewhere, by their names.

    Owners and times are left out, as the docker program does: else nothing was ever cached.
    """
    inside = [
        (str(path.relative_to(folder)), path)
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts  # which an installation makes, and a checkout has not
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in (*inside, *more):
            entry = tar.gettarinfo(path, name)
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            if entry.isfile():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    return buffer.getvalue()


def build(
    host: Host, base: str, name: str, work: Work, names: Names, site: Site, tell: Tell
) -> dict[str, Any]:
    """Build the layer on the host, saying what happens. Raises StartFailed, StaleAttempt."""
    log.info("building %s of %s on %s", name, work.image, host.name)
    begun = time.monotonic()
    words = Words(tell)
    for line in _lines(host, _request(host, base, name, work, names, site), work):
        words.add(line)
    words.flush()
    if words.failure:
        last = " | ".join([*words.last, words.failure])[-1200:]
        raise StartFailed(
            f"drc's layer cannot be built on {work.image}, so it cannot become a vessel: a base "
            f"must be Debian or Ubuntu (docs/images.md). The build on {host.name} ended: {last}"
        )
    found = images.find(host, name)
    if found is None:
        raise EngineFailed(f"The build of {name} on {host.name} was cut off.")
    log.info("built %s on %s in %.0f s", name, host.name, time.monotonic() - begun)
    return found


def _request(
    host: Host, base: str, name: str, work: Work, names: Names, site: Site
) -> tuple[dict[str, Any], bytes]:
    """Parameters and body of POST /build, as in image/build, so that its steps are found again."""
    more = [("ca/ca-certificates.crt", MACHINE_CA)] if MACHINE_CA.is_file() else []
    memory = max(site.memory_mib, LEAST_MIB) * 2**20
    environ = {name: os.environ[name] for name in BUILD_ENVIRONMENT if name in os.environ}
    return {
        "version": "1",  # the classic builder: it sees the images of the engine, and needs no other
        "t": name,
        "rm": True,
        "forcerm": True,
        "networkmode": f"container:{site.network}",
        "memory": memory,
        "memswap": memory,
        "cpuperiod": 100_000,
        "cpuquota": site.millicpus * 100,
        "buildargs": json.dumps({"BASE": base, **environ}),
        "labels": json.dumps(
            {
                wanted.BASE: work.image,
                wanted.BASE_DIGEST: base,
                wanted.INSTALLATION: names.installation,
            }
        ),
    }, context(recipe(), *more)


def _lines(host: Host, request: tuple[dict[str, Any], bytes], work: Work) -> Iterator[str]:
    """What the engine says of a build, as it comes; an empty one when it says nothing for a while.

    The connection is closed when the work is not wanted any more, upon which the engine stops.
    """
    params, body = request
    heard: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
    with translated(host.name):
        engine = host.docker()
        answer = engine._post(
            engine._url("/build"),
            data=body,
            params=params,
            headers={"Content-Type": "application/tar"},
            stream=True,
            timeout=QUIET,
        )
        engine._raise_for_status(answer)
    channel = answer.raw._fp.fp.channel  # as the SDK finds it; closing the answer would wait

    def listen() -> None:
        try:
            for line in answer.iter_lines():
                heard.put(line.decode(errors="replace"))
        except Exception as failed:  # noqa: BLE001  whatever broke it, the work is told
            heard.put(failed)
        else:
            heard.put(None)

    listener = threading.Thread(target=listen, name="build", daemon=True)
    listener.start()
    try:
        while True:
            try:
                word = heard.get(timeout=PAUSE)
            except queue.Empty:
                word = ""
            work.go_on()
            if word is None:
                return
            if isinstance(word, Exception):
                raise EngineFailed(f"The build on {host.name} broke off: {word}") from word
            yield word
    finally:
        channel.close()
        listener.join(5)
        answer.close()


@dataclass(slots=True)
class Words:
    """What a build says, gathered: a step is told at once, its output now and then."""

    tell: Tell
    step: int = 0
    steps: int = 0
    failure: str = ""
    last: list[str] = field(default_factory=list[str])
    untold: list[str] = field(default_factory=list[str])
    rest: str = ""
    told_at: float = 0.0

    def add(self, answer: str) -> None:
        """One line of the engine's answer, which is JSON; empty: nothing came."""
        said: dict[str, Any] = json.loads(answer) if answer.strip() else {}
        self.failure = said.get("error") or self.failure
        *whole, self.rest = (self.rest + (said.get("stream") or "")).split("\n")
        for line in whole:
            self._line(line)
        if self.untold and time.monotonic() > self.told_at + PAUSE:
            self.flush()

    def _line(self, text: str) -> None:
        line = printable(text)
        if not line:
            return
        at = STEP.match(line)
        if at:
            self.flush()
            self.step, self.steps = int(at[1]), int(at[2])
        self.untold.append(line)
        self.last = [*self.last, line][-LAST_LINES:]
        if at:
            self.flush()

    def flush(self) -> None:
        if self.untold:
            self.tell(Said(self.untold, self.step, self.steps))
            self.untold, self.told_at = [], time.monotonic()


def printable(text: str) -> str:
    """What a program said may hold anything, what commands a terminal included; of a line that was
    written over, the last.
    """
    line = text.rstrip("\r").rpartition("\r")[2]
    line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)
    return clean(line)[:300]
