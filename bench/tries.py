"""The two moments that are measured, tried every 20 ms: ssh gets in, Jupyter says 200."""

import ctypes
import http.client
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drc.errors import StartFailed

EVERY = 0.02  # seconds from the beginning of one try to that of the next
PATIENCE = 60.0
CLONE_NEWNET = 0x40000000
JUPYTER_PORT = 8888


def pause_since(begun: float) -> None:
    time.sleep(max(0.0, begun + EVERY - time.time()))


def first_ssh(command: list[str]) -> float:
    """When `ssh … true` first exited 0. Raises StartFailed."""
    deadline = time.time() + PATIENCE
    while (begun := time.time()) < deadline:
        tried = subprocess.run(
            [*command, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if tried.returncode == 0:
            return time.time()
        pause_since(begun)
    raise StartFailed(f"{' '.join(command)} did not get in: {tried.stderr.strip()}")


def first_200(pid: int, token: str) -> float:
    """When Jupyter, on the loopback of the container with this process, first answered 200.

    A thread of ours enters that network namespace and opens plain sockets there: no process, no
    `docker exec`, nothing that would take the container's CPU. Raises StartFailed.
    """
    with ThreadPoolExecutor(1) as inside:
        return inside.submit(_first_200, pid, token).result()


def _first_200(pid: int, token: str) -> float:
    enter_network(pid)
    deadline = time.time() + PATIENCE
    while (begun := time.time()) < deadline:
        asking = http.client.HTTPConnection("127.0.0.1", JUPYTER_PORT, timeout=5)
        try:
            asking.request("GET", "/api/status", headers={"Authorization": f"token {token}"})
            if asking.getresponse().status == 200:
                return time.time()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            asking.close()
        pause_since(begun)
    raise StartFailed("Jupyter gave no 200.")


def enter_network(pid: int) -> None:
    """This thread alone, for good. Python has os.setns from 3.12 on."""
    descriptor = os.open(Path("/proc", str(pid), "ns", "net"), os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
