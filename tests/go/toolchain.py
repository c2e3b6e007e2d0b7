"""Go, for machines that have none or an older one: the module that Go itself would fetch."""

import hashlib
import os
import platform
import re
import shutil
import zipfile
from pathlib import Path

import httpx

from drc.client import trusted

VERSION = "1.26.4"
SUMS = {
    "amd64": "0221cfe82f9c88c717677cb5c1f59f598d177cd7eac18c11f90ae29432d356f9",
    "arm64": "546033959cfc917b439851f7bcd64e973dd18e83b1c333c6d609a891ed2b77a6",
}
"""SHA-256 of the module's zip, as `go mod download` had it after it asked the checksum database."""
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
PROGRAMS = ("bin", "pkg/tool")
"""Where what is to be run lies; a module's files have no mode."""


def fetched(cache: Path) -> Path:
    """The program `go` in a folder of the cache. RuntimeError: it could not be had."""
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise RuntimeError(f"There is no Go for {platform.machine()} here, which tests need.")
    folder = cache / f"go-{VERSION}-{machine}"
    if not folder.exists():
        for left in cache.glob("go-fetching-*"):  # by one that was killed
            shutil.rmtree(left)
        fetching = cache / f"go-fetching-{os.getpid()}"
        fetching.mkdir()
        module = f"v0.0.1-go{VERSION}.linux-{machine}"
        download(f"{proxy()}/golang.org/toolchain/@v/{module}.zip", fetching / "zip", SUMS[machine])
        with zipfile.ZipFile(fetching / "zip") as archive:
            archive.extractall(fetching)
        go = fetching / f"golang.org/toolchain@{module}"
        make_runnable(go)
        go.rename(folder)
        shutil.rmtree(fetching)
    return folder / "bin" / "go"


def proxy() -> str:
    """The first one of GOPROXY that is an address. RuntimeError: there is none."""
    told = re.split("[,|]", os.environ.get("GOPROXY", ""))
    for one in told:
        if one.startswith("http"):
            return one.strip("/")
    raise RuntimeError(f"Install Go {VERSION}, or say in GOPROXY where it can be had.")


def download(url: str, to: Path, sum: str) -> None:
    found = hashlib.sha256()
    try:
        with (
            httpx.stream("GET", url, verify=trusted(), timeout=60, follow_redirects=True) as answer,
            to.open("wb") as file,
        ):
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                found.update(chunk)
                file.write(chunk)
    except (httpx.HTTPError, httpx.InvalidURL) as failed:
        raise RuntimeError(f"Go {VERSION}, which tests need, did not come: {failed}") from None
    if found.hexdigest() != sum:
        raise RuntimeError(f"What came as Go {VERSION} is something else: {found.hexdigest()}")


def make_runnable(go: Path) -> None:
    """As cmd/go/internal/toolchain/select.go does after it has fetched one."""
    for path in go.rglob("_go.mod"):
        shutil.copyfile(path, path.with_name("go.mod"))
    for path in (path for place in PROGRAMS for path in (go / place).rglob("*")):
        path.chmod(0o755)
