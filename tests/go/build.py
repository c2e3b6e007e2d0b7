"""Programs that tests need, built from source by Go once and then kept."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.go import toolchain

CACHE = Path(os.environ.get("DRC_TEST_CACHE", "/var/cache/drc-tests"))
GO = "/usr/local/go/bin"
"""Where Go's own archive is unpacked to, which is on few people's PATH."""
STANDARD = ("-mod=readonly", "-trimpath", "-buildvcs=false")


def built(
    source: Path,
    name: str,
    packages: Sequence[str] = (".",),
    options: Sequence[str] = (),
    finish: Callable[[Path], None] = lambda _: None,
) -> Path:
    """A folder of the cache with the static programs that a module's packages make.

    `finish`: what is to be done in it besides. RuntimeError: there is no Go that can build them and
    none could be had, or it could not build them.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "go.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at a time would both take twice as long
        go, version = find_go((source / "go.mod").read_text())
        state = hashlib.sha256(repr((version, packages, options)).encode())
        for path in sorted(source.iterdir()):
            state.update(b"\0%s\0%s" % (path.name.encode(), path.read_bytes()))
        folder = CACHE / f"{name}-{state.hexdigest()[:12]}"
        if not folder.exists():
            for left in CACHE.glob(f"{name}-building-*"):  # by a build that was killed
                shutil.rmtree(left, ignore_errors=True)
            building = CACHE / f"{name}-building-{os.getpid()}"
            building.mkdir()
            run_go(source, go, "build", *STANDARD, *options, "-o", f"{building}/", *packages)
            finish(building)
            building.rename(folder)
    return folder


def find_go(wanted: str) -> tuple[str, str]:
    """The program and its version, of this machine or of the cache; `wanted`: the go.mod that says
    how old it may be.
    """
    at_least = numbers(words(r"^go (\S+)$", wanted))
    go = shutil.which("go", path=f"{os.environ.get('PATH', os.defpath)}:{GO}")
    if go is not None:
        version = run_go(Path("/"), go, "env", "GOVERSION").strip().removeprefix("go")
        if numbers(version) >= at_least:
            return go, version
    assert numbers(toolchain.VERSION) >= at_least, "the module's Go is older than go.mod asks for"
    return str(toolchain.fetched(CACHE)), toolchain.VERSION


def run_go(folder: Path, *command: str) -> str:
    # no other Go than this one, no C compiler, and nothing that somebody set for work of their own
    own = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOROOT": ""}
    done = subprocess.run(command, cwd=folder, env={**os.environ, **own}, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{folder} could not be built: {done.stderr[-3000:].strip()}")
    return done.stdout


def words(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None, pattern
    return found[1]


def numbers(version: str) -> tuple[int, ...]:
    """1.26.4 or 1.27rc1, in an order. What comes before a release counts as that release."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("rc")[0]))
