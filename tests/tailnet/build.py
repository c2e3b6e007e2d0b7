"""The tests' control server and Tailscale's own programs, built from source once and then kept."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.tailnet import toolchain

SERVER = Path(__file__).with_name("server")
CACHE = Path(os.environ.get("DRC_TEST_CACHE", "/var/cache/drc-tests"))
GO = "/usr/local/go/bin"
"""Where Go's own archive is unpacked to, which is on few people's PATH."""
OMITTED = """
    ace acme advertiseexitnode advertiseroutes appconnectors aws bakedroots bird cachenetmap
    captiveportal capture cliconndiag clientupdate cloud colorable completion completion_scripts
    conn25 dbus debugeventbus debugportmapper desktop_sessions doctor drive identityfederation kube
    logtail netlog networkmanager oauthkey outboundproxy posture qrcodes relayserver resolved
    routecheck runtimemetrics sdnotify serve ssh synology syspolicy systray taildrop tailnetlock tap
    tpm tundevstats useexitnode wakeonlan webbrowser webclient
""".split()
"""What Tailscale's programs can be built without, and no test asks for: 19 MB instead of 43, and
half the time to build them. What concerns joining, traffic and packet filters is all there."""


@cache
def binaries() -> Path:
    """A folder with the static programs `tailnet`, `tailscaled` and `tailscale`.

    The last is a link: the program knows by its name which of the two it is. RuntimeError: there is
    no Go that can build them and none could be had, or it could not build them.
    """
    wanted = (SERVER / "go.mod").read_text()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "tailnet.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at a time would both take twice as long
        go, version = find_go(wanted)
        options = build_options(wanted)
        state = hashlib.sha256(repr((version, options)).encode())
        for path in sorted(SERVER.iterdir()):
            state.update(b"\0%s\0%s" % (path.name.encode(), path.read_bytes()))
        folder = CACHE / f"tailnet-{state.hexdigest()[:12]}"
        if not folder.exists():
            for left in CACHE.glob("tailnet-building-*"):  # by a build that was killed
                shutil.rmtree(left, ignore_errors=True)
            building = CACHE / f"tailnet-building-{os.getpid()}"
            building.mkdir()
            run_go(go, "build", *options, "-o", f"{building}/", ".", "tailscale.com/cmd/tailscaled")
            (building / "tailscale").symlink_to("tailscaled")
            building.rename(folder)
    return folder


def find_go(wanted: str) -> tuple[str, str]:
    """The program and its version, of this machine or of the cache; `wanted`: the go.mod that says
    how old it may be.
    """
    at_least = numbers(words(r"^go (\S+)$", wanted))
    go = shutil.which("go", path=f"{os.environ.get('PATH', os.defpath)}:{GO}")
    if go is not None:
        version = run_go(go, "env", "GOVERSION", folder="/").strip().removeprefix("go")
        if numbers(version) >= at_least:
            return go, version
    assert numbers(toolchain.VERSION) >= at_least, "the module's Go is older than go.mod asks for"
    return str(toolchain.fetched(CACHE)), toolchain.VERSION


def build_options(wanted: str) -> list[str]:
    tags = ["ts_include_cli", *(f"ts_omit_{name}" for name in OMITTED)]
    version = words(r"tailscale\.com v(\S+)$", wanted)
    stamps = [f"-X tailscale.com/version.{name}Stamp={version}" for name in ("short", "long")]
    return ["-mod=readonly", "-trimpath", "-buildvcs=false", f"-tags={','.join(tags)}",
            f"-ldflags=-s -w {' '.join(stamps)}"]  # fmt: skip


def run_go(*command: str, folder: str | Path = SERVER) -> str:
    # no other Go than this one, no C compiler, and nothing that somebody set for work of their own
    own = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOROOT": ""}
    done = subprocess.run(command, cwd=folder, env={**os.environ, **own}, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"The tests' tailnet could not be built: {done.stderr[-3000:].strip()}")
    return done.stdout


def words(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None, pattern
    return found[1]


def numbers(version: str) -> tuple[int, ...]:
    """1.26.4 or 1.27rc1, in an order. What comes before a release counts as that release."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("rc")[0]))
