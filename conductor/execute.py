"""Running a program in a container, with something on its standard input."""

import contextlib
import time
from collections.abc import Generator
from contextlib import contextmanager

import docker.errors

from conductor.host import Host, translated
from drc.errors import EngineFailed

HEAD = 8  # bytes before each frame: the first tells the stream, the last four the length
LONGEST = 2**20  # bytes of a frame; an engine's has 32 KiB
FIRST = ["sh", "-c", 'read -r _ && exec "$@"', "sh"]
"""Nothing is said before we listen: what comes with the answer's head is lost to the SDK."""
OUT, ERR = 1, 2
ENDING = 5.0  # seconds


class Running:
    """A program in a container. Each method raises EngineFailed, TimeoutError."""

    def __init__(self, host: Host, container: str, command: list[str], timeout: float) -> None:
        """`timeout`: in seconds, of silence. Raises HostUnreachable, too."""
        self.host, self.engine = host, host.docker()
        with answered(host):
            made = self.engine.exec_create(container, [*FIRST, *command], stdin=True, tty=False)
            self.id = str(made["Id"])
            self.channel = self.engine.exec_start(self.id, socket=True)
            self.channel.settimeout(timeout)
            self.channel.sendall(b"\n")

    def send(self, piece: bytes) -> None:
        """Raises OSError where it has ended."""
        with answered(self.host):
            self.channel.sendall(piece)

    def frames(self) -> Generator[tuple[int, bytes]]:
        """What it says as it comes, each with its stream, until it has ended."""
        left = b""
        while chunk := self.receive():
            left += chunk
            while len(left) >= HEAD and len(left) >= (end := HEAD + size_of(left)):
                yield left[0], left[HEAD:end]
                left = left[end:]
            if len(left) >= HEAD and size_of(left) > LONGEST:
                raise EngineFailed(f"Docker on {self.host.name} sends what nobody can read.")

    def receive(self) -> bytes:
        with answered(self.host):
            return self.channel.recv(65536)

    def status(self) -> int:
        """Of one whose last frame has come. Its engine hears of its end a little later."""
        deadline = time.monotonic() + ENDING
        with answered(self.host):
            while (told := self.engine.exec_inspect(self.id)["ExitCode"]) is None:
                if time.monotonic() > deadline:
                    raise TimeoutError
                time.sleep(0.02)
            return told


@contextmanager
def answered(host: Host) -> Generator[None]:
    """The SDK's errors as ours, also that there is no such container."""
    try:
        with translated(host.name):
            yield
    except docker.errors.NotFound as failed:
        raise EngineFailed(f"A container on {host.name} is gone.") from failed


def size_of(frame: bytes) -> int:
    return int.from_bytes(frame[4:HEAD], "big")


@contextmanager
def running(host: Host, container: str, command: list[str], timeout: float) -> Generator[Running]:
    """Raises EngineFailed, TimeoutError, HostUnreachable."""
    program = Running(host, container, command, timeout)
    try:
        yield program
    finally:
        program.channel.close()


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
        program.send(stdin.encode())
        for stream, text in program.frames():
            said[stream] = said.get(stream, b"") + text
            if time.monotonic() > deadline:
                raise TimeoutError
        status = program.status()
    return status, said[OUT].decode(errors="replace"), said[ERR].decode(errors="replace")
