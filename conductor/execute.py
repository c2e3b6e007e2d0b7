"""Running a program in a container, with something on its standard input."""

import contextlib
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import docker.errors

from conductor.host import Host, translated
from drc.errors import EngineFailed

HEAD = 8  # bytes before each frame: the first tells the stream, the last four the length
OUT, ERR = 1, 2
ENDING = 5.0  # seconds


class Running:
    """A program in a container. All raise what the docker SDK does, and TimeoutError."""

    def __init__(self, engine: Any, container: str, command: list[str], timeout: float) -> None:
        """`timeout`: in seconds, of silence."""
        self.engine = engine
        self.id = str(engine.exec_create(container, command, stdin=True, tty=False)["Id"])
        self.channel = engine.exec_start(self.id, socket=True)
        self.channel.settimeout(timeout)

    def frames(self) -> Generator[tuple[int, bytes]]:
        """What it says as it comes, each with its stream, until it has ended."""
        left = b""
        while chunk := self.channel.recv(65536):
            left += chunk
            while len(left) >= HEAD and len(left) >= (end := HEAD + size_of(left)):
                yield left[0], left[HEAD:end]
                left = left[end:]

    def status(self) -> int:
        """Of one whose last frame has come. Its engine hears of its end a little later."""
        deadline = time.monotonic() + ENDING
        while (told := self.engine.exec_inspect(self.id)["ExitCode"]) is None:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.02)
        return told


def size_of(frame: bytes) -> int:
    return int.from_bytes(frame[4:HEAD], "big")


@contextmanager
def running(host: Host, container: str, command: list[str], timeout: float) -> Generator[Running]:
    """Raises EngineFailed, TimeoutError, HostUnreachable."""
    try:
        with translated(host.name):
            program = Running(host.docker(), container, command, timeout)
            try:
                yield program
            finally:
                program.channel.close()
    except docker.errors.NotFound as failed:
        raise EngineFailed(f"A container on {host.name} is gone.") from failed


def execute(
    host: Host, container: str, command: list[str], stdin: str, timeout: float
) -> tuple[int, str, str]:
    """Exit status, output and errors. -1 is the status of one that does not end in time.

    What is secret goes in by standard input, for arguments and environments can be looked at; it
    stays open, so a program must know by a line's end that it has all. Raises EngineFailed.
    """
    said, status, deadline = {OUT: b"", ERR: b""}, -1, time.monotonic() + timeout
    with (
        running(host, container, command, timeout) as program,
        contextlib.suppress(TimeoutError),
    ):
        program.channel.sendall(stdin.encode())
        for stream, text in program.frames():
            said[stream] = said.get(stream, b"") + text
            if time.monotonic() > deadline:
                raise TimeoutError
        status = program.status()
    return status, said[OUT].decode(errors="replace"), said[ERR].decode(errors="replace")
