"""The layer that makes any image a vessel image: image/vessel installed upon it, once per host.

It is kept there under a name that says what it was made of, so that the next vessel of the same
image finds it, and a recipe that changed makes another one. Whatever the image brings with it runs
meanwhile. So it is made in a container that may do what a vessel may, in the network of a berth
and within the limits of who asked for it, and not by the engine's builder, which would give it
NET_RAW, GPUs where NVIDIA's runtime is the default, and the image's ONBUILD its way.
"""

import contextlib
import hashlib
import logging
import os
import queue
import re
import shlex
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conductor import container, images, trial, wanted
from conductor.host import Host, translated
from conductor.said import last_of_line
from conductor.wanted import File, Names
from conductor.work import Work
from drc.config import BUILD_ENVIRONMENT, package_folder
from drc.errors import EngineFailed, HostUnreachable, StartFailed

MACHINE_CA = Path("/etc/ssl/certs/ca-certificates.crt")
PAUSE = 0.5  # seconds between two words about a build, and two looks whether it is still wanted
QUIET = 1800.0  # seconds in which a step may say nothing; a large package unpacks for minutes
LEAST_MIB = 1024  # what pip needs to unpack JupyterLab, however small the vessel is to be
LAST_LINES = 12
LONGEST_LINE = 64 * 1024  # bytes; what goes on without an end must not fill our memory
STEP = re.compile(r"Step (\d+)/(\d+): ")
SETTINGS = ("ENV", "LABEL", "WORKDIR", "ENTRYPOINT")
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
    """Where a layer is made: in a container of this name and these labels, which has the network of
    another one, and what it may use.
    """

    container: str
    labels: dict[str, str]
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
    if labels.get(wanted.SAVED) and not work.image.startswith(f"{wanted.SAVED_NAME}:"):
        # that name only its owner is given; any other way to the image is somebody else's
        raise StartFailed(f"{work.image} is what a vessel left. Its owner has it by --from.")
    if labels.get(wanted.VESSEL_IMAGE) == "1":
        return image
    name = name_of(image["Id"])
    found = images.find(host, name)
    if found:
        if work.tries > 1:
            host.remove(site.container)  # which a crash after its making left
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


def context(folder: Path, more: Iterable[File] = ()) -> bytes:
    """A tar of a recipe as it lies in the container, the same one each time; `more`: further files.

    Owners and times are left out, so that its digest says what is in it.
    """
    inside = [
        File(str(path.relative_to(folder)), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts  # which only an installation has
    ]
    place = wanted.INSTALL.lstrip("/")
    return wanted.archive([replace(f, name=f"{place}/{f.name}") for f in (*inside, *more)])


def _from_here() -> Iterator[File]:
    """What an installation is told beside its recipe: whom this machine trusts, and how pip and
    apt reach the network. It lies in a file that goes with the recipe, so none of it stays.
    """
    told = {name: os.environ[name] for name in BUILD_ENVIRONMENT if name in os.environ}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in told.items()]
    yield File("environment", "".join(lines))
    if MACHINE_CA.is_file():
        yield File("ca/ca-certificates.crt", MACHINE_CA.read_bytes())


def settings() -> list[str]:
    """The lines of the recipe's Dockerfile that say how the image is run, for a commit."""
    lines = (recipe() / "Dockerfile").read_text().splitlines()
    return [line for line in lines if line.split(" ")[0] in SETTINGS]


def build(
    host: Host, base: str, name: str, work: Work, names: Names, site: Site, tell: Tell
) -> dict[str, Any]:
    """Make the layer on the host, saying what happens. Raises StartFailed, StaleAttempt."""
    log.info("building %s of %s on %s", name, work.image, host.name)
    begun = time.monotonic()
    words = Words(tell)
    body = wanted.layer_container(
        base,
        site.labels,
        network=site.network,
        memory_mib=max(site.memory_mib, LEAST_MIB),
        millicpus=site.millicpus,
        limits=trial.limits(host, names),
    )
    try:
        container.create(host, body, site.container)
        with translated(host.name):
            engine = host.docker()
            engine.put_archive(site.container, "/", context(recipe(), _from_here()))
        container.start(host, site.container)
        for said in _said(host, site.container, work):
            words.add(said)
        words.end()
        with translated(host.name):
            status = engine.wait(site.container)["StatusCode"]
            if status != 0:
                raise StartFailed(f"{' | '.join(words.last)[-1200:]} (status {status})")
            _commit(engine, site, base, name, work, names)
    except StartFailed as failed:
        raise StartFailed(
            f"drc's layer cannot be built on {work.image}, so it cannot become a vessel: a base "
            f"must be Debian or Ubuntu (docs/images.md). The build on {host.name} ended: "
            f"{failed.message}"
        ) from failed
    finally:
        with contextlib.suppress(EngineFailed, HostUnreachable):  # replaced, or stopped, later
            host.remove(site.container)
    found = images.find(host, name)
    if found is None:
        raise EngineFailed(f"The build of {name} on {host.name} was cut off.")
    log.info("built %s on %s in %.0f s", name, host.name, time.monotonic() - begun)
    return found


def _commit(engine: Any, site: Site, base: str, name: str, work: Work, names: Names) -> None:
    labels = {
        wanted.BASE: work.image,
        wanted.BASE_DIGEST: base,
        wanted.BUILT_BY: names.installation,
    }
    container.commit(engine, site.container, name, settings(), labels, site.labels)


def _said(host: Host, name: str, work: Work) -> Iterator[bytes]:
    """What a container says, as it comes and until it ends; nothing when it is quiet for a while.

    Raises StaleAttempt when the work is not wanted any more.
    """
    heard: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()
    with translated(host.name):
        engine = host.docker()
        params = {"stdout": 1, "stderr": 1, "follow": 1}
        url = engine._url("/containers/{0}/logs", name)
        answer = engine._get(url, params=params, stream=True, timeout=QUIET)
        engine._raise_for_status(answer)
    channel = answer.raw._fp.fp.channel  # as the SDK finds it; closing the answer would wait

    def listen() -> None:
        try:
            for said in engine._multiplexed_response_stream_helper(answer):
                heard.put(said)
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
                word = b""
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
    last: list[str] = field(default_factory=list[str])
    untold: list[str] = field(default_factory=list[str])
    rest: bytes = b""
    told_at: float = 0.0

    def add(self, said: bytes) -> None:
        """Some of it, which may end within a line, or within a letter; empty: nothing came."""
        *whole, self.rest = (self.rest + said).split(b"\n")
        if len(self.rest) > LONGEST_LINE:
            whole, self.rest = [*whole, self.rest], b""
        for line in whole:
            self._line(line.decode(errors="replace"))
        if self.untold and time.monotonic() > self.told_at + PAUSE:
            self.flush()

    def end(self) -> None:
        self.add(b"\n")
        self.flush()

    def _line(self, text: str) -> None:
        line = last_of_line(text)
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
